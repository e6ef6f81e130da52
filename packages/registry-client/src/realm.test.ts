import { describe, expect, it } from "vitest";
import { judgeRealm, registrableDomain } from "./realm.ts";

describe("judgeRealm", () => {
  it.each([
    ["https://registry-1.docker.io", "https://auth.docker.io/token"],
    ["https://registry.gitlab.com", "https://gitlab.com/jwt/auth"],
    ["https://harbor.example.co.uk", "https://auth.example.co.uk/token"],
    ["http://127.0.0.1:5000", "http://127.0.0.1:5001/token"],
    ["http://harbor.local", "https://harbor.local/token"],
    ["https://a.azurecr.io", "https://a.azurecr.io/oauth2/token"],
    ["https://harbor.a.svc.cluster.local", "https://auth.a.svc.cluster.local/token"],
  ])("%s may send credentials to %s", (endpoint, realm) => {
    expect(judgeRealm(realm, new URL(endpoint))).toMatchObject({ url: new URL(realm), trusted: true });
  });

  it.each([
    ["https://registry-1.docker.io", "https://docker.io.evil.example/token"],
    ["https://registry-1.docker.io", "https://evil-docker.io/token"],
    ["https://harbor.example.co.uk", "https://evil.co.uk/token"],
    ["https://a.azurecr.io", "https://evil.azurecr.io/token"],
    ["https://a.dkr.ecr.eu-west-1.amazonaws.com", "https://evil.s3.amazonaws.com/"],
    ["https://10.0.0.1", "https://10.0.0.2/token"],
    ["https://10.0.0.1", "https://9.0.0.1/token"],
    ["https://registry", "https://other/token"],
    ["https://acme.jfrog.io", "https://evil.jfrog.io/token"],
    ["https://registry.10.0.0.1.nip.io", "https://evil.192.0.2.1.nip.io/token"],
    ["https://acme.azurecontainerapps.io", "https://evil.azurecontainerapps.io/token"],
    ["https://harbor.a.svc.cluster.local", "https://evil.b.svc.cluster.local/token"],
  ])("%s asks %s anonymously only", (endpoint, realm) => {
    expect(judgeRealm(realm, new URL(endpoint))).toMatchObject({ url: new URL(realm), trusted: false });
  });

  it.each([
    ["https://registry-1.docker.io", "http://auth.docker.io/token"],
    ["https://registry-1.docker.io", "https://user:pw@auth.docker.io/token"],
    ["https://registry-1.docker.io", "file:///etc/passwd"],
    ["https://registry-1.docker.io", "/token"],
    ["https://registry-1.docker.io", ""],
    ["https://registry-1.docker.io", undefined],
  ])("%s is not believed when it names %s", (endpoint, realm) => {
    expect(judgeRealm(realm, new URL(endpoint)).url).toBeUndefined();
  });
});

describe("a host that the user listed", () => {
  const judge = (realm: string) =>
    judgeRealm(realm, new URL("https://rg.example.cloud"), ["api.example.com", "a.io:8443"]);

  it("may see the credentials, over https", () => {
    expect(judge("https://api.example.com/tokens").trusted).toBe(true);
    expect(judge("https://API.example.com/tokens").trusted).toBe(true);
    expect(judge("https://a.io:8443/tokens").trusted).toBe(true);
    expect(judge("https://a.io/tokens").trusted).toBe(false);
    expect(judge("https://api.example.com.evil.io/tokens").trusted).toBe(false);
    expect(judge("http://api.example.com/tokens").url).toBeUndefined();
  });
});

describe("registrableDomain", () => {
  it.each([
    ["auth.docker.io", "docker.io"],
    ["docker.io", "docker.io"],
    ["a.b.example.com.au", "example.com.au"],
    ["com.au", "com.au"],
    ["x.github.io", "x.github.io"],
    ["127.0.0.1", "127.0.0.1"],
    ["::1", "::1"],
    ["localhost", "localhost"],
  ])("of %s is %s", (host, domain) => expect(registrableDomain(host)).toBe(domain));
});
