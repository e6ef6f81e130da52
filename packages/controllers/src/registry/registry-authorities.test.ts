import type { KubeClient } from "@cache-registry/kube/client";
import type { Secret } from "@cache-registry/kube/workloads";
import { describe, expect, it } from "vitest";
import { authoritiesInSecret } from "./registry-authorities.ts";

function start(maxAge: number) {
  let secret: Secret | undefined;
  let asked = 0;
  const get = (async () => {
    asked += 1;
    if (secret === undefined) throw new Error("not found");
    return secret;
  }) as unknown as KubeClient["get"];
  const authorities = authoritiesInSecret({ client: { get }, namespace: "n", name: "tls", key: "ca.crt", maxAge });
  return {
    authorities,
    asked: () => asked,
    put: (text: string | undefined, key = "ca.crt"): void => {
      const data = { [key]: Buffer.from(text ?? "").toString("base64") };
      secret = text === undefined ? undefined : { metadata: { name: "tls" }, data };
    },
  };
}

describe("authorities in a Secret", () => {
  it("fail while it is not there, and are asked for again at once", async () => {
    const { authorities, put } = start(60_000);
    await expect(authorities()).rejects.toThrow("not found");
    put("x", "other");
    await expect(authorities()).rejects.toThrow("n/tls has no key ca.crt");
    put("one");
    expect(await authorities()).toBe("one");
  });

  it("are held for a while, by one question for all", async () => {
    const { authorities, put, asked } = start(60_000);
    put("one");
    expect(await Promise.all([authorities(), authorities()])).toEqual(["one", "one"]);
    put("two");
    expect(await authorities()).toBe("one");
    expect(asked()).toBe(1);
  });

  it("are read again then, and the last ones stay when that fails", async () => {
    const { authorities, put } = start(0);
    put("one");
    expect(await authorities()).toBe("one");
    put("two");
    expect(await authorities()).toBe("two");
    put(undefined);
    expect(await authorities()).toBe("two");
  });
});
