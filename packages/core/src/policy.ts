/** A decision that explains itself: the first check that objects wins. */
export type Objection<Reason extends string> = { readonly reason: Reason; readonly message: string };

/** Pure: looks at the subject and objects or stays silent. Clocks are part of the subject. */
export type Check<Subject, Reason extends string> = (subject: Subject) => Objection<Reason> | undefined;

export function firstObjection<Subject, Reason extends string>(
  checks: readonly Check<Subject, Reason>[],
  subject: Subject,
): Objection<Reason> | undefined {
  for (const check of checks) {
    const objection = check(subject);
    if (objection) return objection;
  }
  return undefined;
}
