import { ConfigError, loadConfig } from "@cache-registry/runtime/config";
import { describe, expect, it } from "vitest";
import { RegistryConfig } from "./config.ts";
import { assertFilesReadable } from "./config-files.ts";

const load = (env: Record<string, string> = {}) => loadConfig({ schema: RegistryConfig, env });

describe("RegistryConfig", () => {
  it("serves on loopback from ./data without any configuration", () => {
    const config = load();
    expect(config.listen).toMatchObject({ host: "127.0.0.1", port: 5000 });
    expect(config.management).toMatchObject({ host: "127.0.0.1", port: 8081 });
    expect(config.storage.blobs.filesystem.path).toBe("./data");
    expect(config.storage.metadata.sqlite.path).toBe("./data/metadata.db");
    expect(config.upstreams.map(({ registry }) => registry)).toEqual(["docker.io"]);
    expect(config).toMatchObject({
      gc: { grace: 3_600_000 },
      uploads: { idle: 86_400_000 },
      delete: { enabled: true },
      push: { requireBlobs: true },
    });
  });

  it("wants a token for a management API that others reach", () => {
    expect(() => load({ CREG_MANAGEMENT__HOST: "0.0.0.0" })).toThrow("management.tokenFile");
    expect(load({ CREG_MANAGEMENT__HOST: "0.0.0.0", CREG_MANAGEMENT__TOKENFILE: "/token" }).management.host).toBe(
      "0.0.0.0",
    );
  });

  it("wants both files of a single user", () => {
    expect(() => load({ CREG_AUTH__USERNAMEFILE: "/user" })).toThrow("auth.passwordFile");
  });
});

describe("replica", () => {
  const replica = {
    CREG_REPLICA__ADDRESS: "http://10.0.0.7:5001",
    CREG_REPLICA__TOKENFILE: "/nowhere/token",
  };
  const postgres = {
    CREG_STORAGE__METADATA__DRIVER: "postgres",
    CREG_STORAGE__METADATA__POSTGRES__URL: "postgres://a@b/c",
  };

  it("is for several on one PostgreSQL database", () => {
    expect(load({ ...replica, ...postgres }).replica).toMatchObject({
      address: "http://10.0.0.7:5001",
      listen: { host: "0.0.0.0", port: 5001 },
    });
    expect(() => load(replica)).toThrow(/replica: several replicas need storage\.metadata\.driver postgres/);
    expect(() => load({ ...postgres, CREG_STORAGE__BLOBS__DRIVER: "memory" })).toThrow("storage.blobs.driver");
    expect(() => load({ ...postgres, CREG_REPLICA__ADDRESS: "10.0.0.7" })).toThrow(/replica\.address: .*http:\/\//);
    expect(() => load({ ...postgres, CREG_REPLICA__ADDRESS: "http://a" })).toThrow("replica.tokenFile");
    expect(() => assertFilesReadable(load({ ...replica, ...postgres }))).toThrow("replica.tokenFile");
  });
});

describe("credentials of upstreams", () => {
  const credentials = (text: string) => load({ CREG_UPSTREAMS: `[{registry: a.io, credentials: ${text}}]` });

  it("are one entry or a list", () => {
    expect(credentials("{helper: ecr-login}").upstreams[0]?.credentials).toEqual([{ helper: "ecr-login" }]);
    expect(credentials("[{provider: ecr}, {prefix: team, helper: x}]").upstreams[0]?.credentials).toHaveLength(2);
  });

  it.each([
    ["{provider: aws}", /upstreams\.0\.credentials\.provider: .*expected one of ecr, gcp, acr/],
    ["{helper: ../evil}", /upstreams\.0\.credentials\.helper: .*expected the name of a docker credential helper/],
    ["[{provider: aws}]", /upstreams\.0\.credentials\.0\.provider: /],
    ["{user: hunter2}", /upstreams\.0\.credentials\.user: unknown key; allowed here: prefix, username, /],
    ["hunter2", /upstreams\.0\.credentials: .*expected a mapping or a list/],
    ["{}", /upstreams\.0\.credentials: exactly one of username and password, dockerConfigFile, helper, provider/],
  ])("%s are refused", (text, message) => {
    expect(() => credentials(text)).toThrow(message);
    expect(() => credentials(text)).not.toThrow(/hunter2/);
  });
});

describe("assertFilesReadable", () => {
  it("names every key whose file is not there", () => {
    const upstream =
      "[{registry: quay.io, credentials: {username: a, passwordFile: /nowhere/p}, tls: {caFile: /nowhere/ca}}]";
    const list = "[{prefix: a, dockerConfigFile: /nowhere/d}, {provider: gcp, credentialsFile: /nowhere/g}]";
    const several = load({ CREG_UPSTREAMS: `[{registry: quay.io, credentials: ${list}}]` });
    expect(() => assertFilesReadable(several)).toThrow("upstreams.0.credentials.0.dockerConfigFile");
    expect(() => assertFilesReadable(several)).toThrow("upstreams.0.credentials.1.credentialsFile");
    const helped = load({ CREG_UPSTREAMS: "[{registry: quay.io, credentials: {helper: not-there}}]" });
    expect(() => assertFilesReadable(helped)).toThrow(
      "upstreams.0.credentials.helper: docker-credential-not-there is not on PATH",
    );
    const config = load({ CREG_AUTH__HTPASSWDFILE: "/nowhere/htpasswd", CREG_UPSTREAMS: upstream });
    expect(() => assertFilesReadable(config)).toThrow(ConfigError);
    for (const key of ["auth.htpasswdFile", "upstreams.0.credentials.passwordFile", "upstreams.0.tls.caFile"]) {
      expect(() => assertFilesReadable(config)).toThrow(key);
    }
    expect(() => assertFilesReadable(load())).not.toThrow();
  });
});
