export type SecretName = { readonly namespace: string; readonly name: string };

/** `namespace/name`: unique, and what people call it. */
export function printSecretName({ namespace, name }: SecretName): string {
  return `${namespace}/${name}`;
}
