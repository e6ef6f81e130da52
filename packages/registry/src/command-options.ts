/** What the command line hands to a command. `values`: its options, as node:util parseArgs gives them. */
export type CommandOptions = {
  readonly file?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly values?: Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>;
};
