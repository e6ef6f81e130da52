import http from "node:http";
import https from "node:https";
import { isIPv6, type Socket } from "node:net";
import { hostOf } from "../address-policy.ts";
import type { ForwardProxy } from "./forward-proxy.ts";

/** The proxy gave no tunnel. */
export class ForwardProxyError extends Error {
  override readonly name = "ForwardProxyError";
  readonly code: "ERR_PROXY_REFUSED" | "ERR_PROXY_TIMEOUT";

  constructor(code: ForwardProxyError["code"], message: string) {
    super(message);
    this.code = code;
  }
}

export type TunnelOptions = {
  readonly proxy: ForwardProxy;
  readonly host: string;
  readonly port: number;
  /** Milliseconds for the proxy's answer. */
  readonly timeout: number;
};

/** A connection through the proxy, by CONNECT (RFC 9110 §9.3.6). @throws ForwardProxyError, or an error of the system */
export function openTunnel({ proxy, host, port, timeout }: TunnelOptions): Promise<Socket> {
  const { url, headers } = proxy;
  const authority = `${isIPv6(host) ? `[${host}]` : host}:${port}`;
  const secure = url.protocol === "https:";
  return new Promise((resolve, reject) => {
    const request = (secure ? https.request : http.request)({
      hostname: hostOf(url),
      port: url.port === "" ? (secure ? 443 : 80) : Number(url.port),
      method: "CONNECT",
      path: authority,
      headers: { host: authority, ...headers },
      agent: false,
    });
    const timer = setTimeout(() => {
      request.destroy(new ForwardProxyError("ERR_PROXY_TIMEOUT", "the proxy on the way did not answer in time"));
    }, timeout);
    request.once("connect", ({ statusCode = 0 }, socket: Socket, head: Buffer) => {
      clearTimeout(timer);
      // A tunnel is silent until we speak: whoever talks into it beforehand is not the upstream.
      if (statusCode >= 200 && statusCode < 300 && head.length === 0) return resolve(socket);
      socket.destroy();
      reject(new ForwardProxyError("ERR_PROXY_REFUSED", `the proxy on the way answered ${statusCode}`));
    });
    request.once("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    request.end();
  });
}
