import type { ParseArgsOptionsConfig } from "node:util";

const TEXT = { type: "string" } as const;
const TEXTS = { type: "string", multiple: true } as const;
const FLAG = { type: "boolean" } as const;
/** A registry elsewhere. */
const REMOTE = { url: TEXT, "management-url": TEXT, "token-file": TEXT, "ca-file": TEXT };

/** Options of commands beside --config; what they mean is checked by the command itself. */
export const OPTIONS: Readonly<Record<string, ParseArgsOptionsConfig>> = {
  proxy: { "write-hosts-toml": FLAG, "remove-hosts-toml": FLAG },
  scrub: { rate: { type: "string" }, after: { type: "string" }, json: { type: "boolean" } },
  rebuild: { snapshot: { type: "string" }, repository: { type: "string" }, discard: { type: "boolean" } },
  export: {
    ...REMOTE,
    username: TEXT,
    "password-file": TEXT,
    images: TEXTS,
    "all-cached": FLAG,
    used: FLAG,
    platform: TEXTS,
    referrers: FLAG,
    output: TEXT,
  },
  restore: {
    release: TEXT,
    namespace: TEXT,
    "proxy-namespace": TEXT,
    endpoint: TEXT,
    registry: TEXTS,
    timeout: TEXT,
    "dry-run": FLAG,
    "keep-records": FLAG,
    uninstalling: FLAG,
  },
  migrate: { apply: FLAG, evict: FLAG, registry: TEXTS, timeout: TEXT },
  import: { "management-url": TEXT, "token-file": TEXT, "ca-file": TEXT, input: TEXT, as: TEXTS, name: TEXT },
};

const HELP: Readonly<Record<string, string>> = {
  proxy: `[--write-hosts-toml | --remove-hosts-toml]
Serves pulls on this node until SIGTERM; with one of the options it only does that, and ends.
  --write-hosts-toml    lead containerd to the proxy as hostsToml says, keeping what was there; undo it if not enabled
  --remove-hosts-toml   put everything back as it was; files that somebody else changed since are left alone and named
exit code of --remove-hosts-toml: 0 nothing of ours is left, 3 something was left alone`,
  scrub: `[--rate BYTES] [--after DIGEST] [--json]
Verifies every digest at rest; damaged bytes are quarantined, cached content is fetched again, lost pushes are named.
  --rate BYTES     read so much per second at most, such as 100Mi; default: scrub.rate while a registry serves
  --after DIGEST   go on behind this digest, as an interrupted run said
  --json           the report as one JSON document
exit code: 0 all is good, 3 damage was healed, 4 pushed content is lost, 130 interrupted, 1 it could not be done`,
  rebuild: `[--snapshot NAME] [--repository NAME | --discard]
Gives a stopped registry a usable database again, then makes metadata and bytes agree.
  --snapshot NAME    go back to this snapshot; default: the database as it is if it is in good order, else the newest good one
  --repository NAME  local repository for manifests whose place nobody knows; default: recovered
  --discard          leave such manifests to the collector: where everything is cached, the upstreams have them
exit code: 0 done, 4 pushed content is lost, 130 interrupted (run it again), 1 it could not be done`,
  export: `[--images REF]… [--all-cached] [--used] --output DIR|FILE.tar
Writes images of a running registry to an OCI image layout; done again, it goes on where it ended.
  --images REF           an image, such as docker.io/library/nginx:1.27; may be given several times
  --all-cached, --used   everything cached that has a tag or an owner; everything that has an owner
  --platform OS/ARCH     of multi-platform images only this; may be given several times. Default: all; with --all-cached and
                         --used those that are held
  --referrers            also signatures, attestations and SBOMs that refer to the images
  --url URL [--management-url URL --token-file FILE] [--username NAME --password-file FILE] [--ca-file FILE]
                         a registry elsewhere, instead of the one that --config describes
exit code: 0 done, 1 something could not be exported, 130 interrupted`,
  import: `--input DIR|FILE.tar [--as NAME | --as OLD=NAME]… [--name NAME]
Brings the images of an OCI image layout into a running registry under their upstreams' names, and pins them.
  --as NAME              name of the only image; OLD=NAME: of the one that the layout calls OLD
  --name NAME            the pin's owner is import:NAME; default: the name of the file
  --management-url URL [--token-file FILE] [--ca-file FILE]   a registry elsewhere, instead of the one that --config describes
exit code: 0 done, 1 refused (nothing of a damaged archive is imported), 130 interrupted`,
  migrate: `[--apply] [--evict] [--registry HOST:PORT]… [--timeout TIME]
Takes over from kube-image-keeper v1 and its ancestor: CachedImages with retain, and namespaces that opted out. Uses your
kubeconfig, changes nothing of theirs, and only reports unless told otherwise (docs/migration.md).
  --apply                make the CachedImages and label the namespaces
  --evict                once their webhook is gone: evict pods that name their proxy, patch bare ones (with --apply)
  --registry HOST:PORT   a registry with a port, which their records write host-port; may be given several times
  --timeout TIME         wait so long for budgets and Jobs; default: 10m
exit code: 0 done, 3 some pods still name the old proxy`,
  restore: `[--release NAME] [--namespace NAME] [--dry-run] [--timeout TIME]
After helm uninstall: makes every pod independent of the cache, then removes what was kept for them. Uses your kubeconfig.
Pods with a controller are evicted (budgets are honoured), bare pods get their original images in place, Jobs are let finish.
  --release, --namespace  of the release; default: cache-registry, cache-registry-system
  --proxy-namespace NAME  of the proxy, where it has one of its own (proxy.namespace)
  --dry-run               only say what would be done
  --timeout TIME          wait so long for budgets and Jobs; default: 10m
  --keep-records          leave the CachedImages and their definition
  --endpoint HOST:PORT    where nodes reached the cache; default: localhost:7439
  --registry HOST:PORT    an upstream without a dot in its name that the chart listed; may be given several times
  --uninstalling          as the chart's hook runs it: the webhook goes first, the rest is left to Helm
exit code: 0 nothing is left, 3 some pods still name the cache and its proxy stays (run it again), 130 interrupted`,
};

export function usageOf(command: string): string {
  return `usage: cache-registry ${command} [--config FILE] ${HELP[command] ?? ""}`.trimEnd();
}
