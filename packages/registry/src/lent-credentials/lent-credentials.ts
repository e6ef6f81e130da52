import { type ImageReference, printImageReference, withDefaultTag } from "@cache-registry/core/image-reference";
import { basicAuthorization, basicIdentity } from "@cache-registry/registry-client/credentials/identity";

/** What somebody else's pull secret says of one registry. */
export type UserAndPassword = { readonly username: string; readonly password: string };

/** A loan, for one image as one owner (cluster) uses it. */
export type Loan = {
  readonly image: ImageReference;
  readonly owner: string;
  /** In the order in which they are tried; empty: what was lent before is given back. */
  readonly credentials: readonly UserAndPassword[];
};

/**
 * Credentials that the controllers hand over for private images, `PUT /api/v1/images/<reference>`. In memory only, and for
 * as long as they are repeated: whoever does not come again has taken them back.
 */
export type LentCredentials = {
  /** @returns whether it changes what is tried */
  lend(loan: Loan): boolean;
  giveBack(image: ImageReference, owner: string): void;
  /** Values of `Authorization` for a repository, those that were not refused lately first. */
  authorizationsFor(registry: string, repository: string): readonly string[];
  refused(registry: string, repository: string, authorization: string): void;
};

/** The controllers repeat them every 10 minutes; two repetitions may fail. Milliseconds. */
const LIFETIME_MS = 30 * 60_000;
/** Loans of one process. With more the oldest are forgotten until they are repeated. */
const MAX_LOANS = 20_000;

type Entry = { readonly repository: string; authorizations: readonly string[]; readonly until: number };

function repositoryKey(registry: string, repository: string): string {
  return `${registry}/${repository}`;
}

export function createLentCredentials({
  now = () => performance.now(),
}: {
  readonly now?: () => number;
} = {}): LentCredentials {
  const loans = new Map<string, Entry>();
  /** Loans by repository: tags of one repository are lent apart, and all of them help its digests. */
  const byRepository = new Map<string, Set<string>>();

  function drop(key: string): void {
    const entry = loans.get(key);
    if (entry === undefined) return;
    loans.delete(key);
    const keys = byRepository.get(entry.repository);
    keys?.delete(key);
    if (keys?.size === 0) byRepository.delete(entry.repository);
  }

  function entriesOf(repository: string): Entry[] {
    const entries: Entry[] = [];
    for (const key of byRepository.get(repository) ?? []) {
      const entry = loans.get(key);
      if (entry === undefined) continue;
      if (entry.until > now()) entries.push(entry);
      else drop(key);
    }
    return entries;
  }

  return {
    lend({ image, owner, credentials }) {
      const key = loanKey(image, owner);
      const former = loans.get(key);
      const authorizations = credentials.map(({ username, password }) =>
        basicAuthorization(basicIdentity(username, password)),
      );
      // The order may have changed because one was refused; that is no news.
      const isNews = !isSameSet(authorizations, former?.authorizations ?? []);
      drop(key);
      if (authorizations.length === 0) return isNews;
      const [oldest] = loans.keys();
      if (loans.size >= MAX_LOANS && oldest !== undefined) drop(oldest);
      const repository = repositoryKey(image.registry, image.repository);
      const tried = isNews ? authorizations : (former?.authorizations ?? authorizations);
      loans.set(key, { repository, authorizations: tried, until: now() + LIFETIME_MS });
      byRepository.set(repository, (byRepository.get(repository) ?? new Set()).add(key));
      return isNews;
    },
    giveBack(image, owner) {
      drop(loanKey(image, owner));
    },
    authorizationsFor(registry, repository) {
      const entries = entriesOf(repositoryKey(registry, repository));
      return [...new Set(entries.flatMap(({ authorizations }) => authorizations))];
    },
    refused(registry, repository, authorization) {
      for (const entry of entriesOf(repositoryKey(registry, repository))) {
        if (!entry.authorizations.includes(authorization)) continue;
        entry.authorizations = [...entry.authorizations.filter((one) => one !== authorization), authorization];
      }
    },
  };
}

function loanKey(image: ImageReference, owner: string): string {
  return `${owner} ${printImageReference(withDefaultTag(image))}`;
}

function isSameSet(some: readonly string[], others: readonly string[]): boolean {
  return some.length === others.length && some.every((one) => others.includes(one));
}
