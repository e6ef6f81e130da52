import type { TokenSource } from "@cache-registry/runtime/cloud-identity/token-source";

/** After an answer: was the token refused, and is there another one now? @throws IdentityError */
export async function isTokenRenewed(tokens: TokenSource, refused: string, status: number): Promise<boolean> {
  if (status !== 401) return false;
  tokens.forget(refused);
  return (await tokens.token()).value !== refused;
}
