import { BlockList, isIP, isIPv4 } from "node:net";

/** Is a host, with or without the brackets of IPv6, to be dialled directly? */
export type NoProxy = (host: string, port: number) => boolean;

type Rule = (host: string, port: number) => boolean;

const family = (address: string): "ipv4" | "ipv6" => (isIPv4(address) ? "ipv4" : "ipv6");

function networkRule(text: string): Rule | undefined {
  const [, address = "", bits] = /^(.+)\/(\d{1,3})$/.exec(text) ?? [];
  if (bits === undefined || isIP(address) === 0 || Number(bits) > (isIPv4(address) ? 32 : 128)) return undefined;
  const list = new BlockList();
  list.addSubnet(address, Number(bits), family(address));
  return (host) => isIP(host) !== 0 && list.check(host, family(host));
}

/** `name`, `name:port`, `[::1]:port`; an address with more than one colon and no brackets has no port. */
function splitPort(text: string): { readonly host: string; readonly port: number | undefined } {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
  return { host: bracketed ?? plain ?? text, port: port === undefined ? undefined : Number(port) };
}

function hostRule(text: string): Rule {
  const { host: written, port } = splitPort(text);
  const onPort = (given: number): boolean => port === undefined || port === given;
  if (isIP(written) !== 0) {
    const list = new BlockList();
    list.addAddress(written, family(written));
    return (host, given) => onPort(given) && isIP(host) !== 0 && list.check(host, family(host));
  }
  const name = written.replace(/^\*(?=\.)/, "").replace(/\.$/, "");
  // A leading dot, or `*.`, means the names below only.
  const suffix = name.startsWith(".") ? name : `.${name}`;
  return (host, given) => onPort(given) && (host.endsWith(suffix) || host === name);
}

/**
 * The list in NO_PROXY as Go programs read it (golang.org/x/net/http/httpproxy), so that one value serves containerd, the
 * kubelet and us: `*`, names with the names below them, `.name` for those below only, addresses, networks, each of the
 * first kinds with an optional port. Names are not looked up: a network is for hosts that are written as addresses.
 */
export function parseNoProxy(text: string | undefined): NoProxy {
  const entries = (text ?? "")
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((entry) => entry !== "");
  const rules = entries.map((entry): Rule => (entry === "*" ? () => true : (networkRule(entry) ?? hostRule(entry))));
  return (written, port) => {
    const host = written
      .toLowerCase()
      .replace(/^\[(.*)\]$/, "$1")
      .replace(/\.$/, "");
    return rules.some((matches) => matches(host, port));
  };
}
