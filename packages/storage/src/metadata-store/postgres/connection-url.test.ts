import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { messageOf } from "@cache-registry/core/errors";
import { Secret } from "@cache-registry/runtime/secret";
import { afterAll, describe, expect, it } from "vitest";
import { parseConnectionUrl, readConnectionConfig } from "./connection-url.ts";

const folder = await mkdtemp(join(tmpdir(), "connection-url-"));
afterAll(() => rm(folder, { recursive: true }));

describe("parseConnectionUrl", () => {
  it.each([
    ["postgres://u:p@db/reg", { host: "db", port: 5432, user: "u", password: "p", database: "reg" }],
    ["postgresql://u@db:6543/", { host: "db", port: 6543, user: "u", database: "u" }],
    ["postgres://u:p%40%2F%3A%20@db:80/r\n", { host: "db", port: 80, user: "u", password: "p@/: ", database: "r" }],
    ["postgres://u@[::1]:5433/r", { host: "::1", port: 5433, user: "u", database: "r" }],
    ["postgres://u@/r?host=/run/postgresql", { host: "/run/postgresql", port: 5432, user: "u", database: "r" }],
    ["postgres://u:p@:5433/r?host=/run/pg", { host: "/run/pg", port: 5433, user: "u", password: "p", database: "r" }],
  ])("reads %s", (text, expected) => {
    expect(parseConnectionUrl(text)).toEqual({ ...expected, sslMode: undefined });
  });

  it.each(["disable", "require", "verify-ca", "verify-full"])("knows sslmode=%s", (mode) => {
    expect(parseConnectionUrl(`postgres://u@db/r?sslmode=${mode}`)?.sslMode).toBe(mode);
  });

  it.each([
    "",
    "db.example.com",
    "http://u@db/r",
    "postgres://db/r",
    "postgres://u@db/r/x",
    "postgres://u@db/r#x",
    "postgres://u@db:port/r",
    "postgres://u@db/r?sslmode=prefer",
    "postgres://u@db/r?sslrootcert=/ca.pem",
    "postgres://u@db/r?host=/run/postgresql",
    "postgres://u:%zz@db/r",
  ])("refuses %s", (text) => {
    expect(parseConnectionUrl(text)).toBeUndefined();
  });
});

describe("readConnectionConfig", () => {
  it("reads the file anew each time, and never shows what is in it", async () => {
    const urlFile = join(folder, "url");
    await writeFile(urlFile, "postgres://u:first@db/r\n");
    expect(await readConnectionConfig({ urlFile })).toMatchObject({ password: "first", ssl: false });
    await writeFile(urlFile, "postgres://u:second@db/r");
    expect(await readConnectionConfig({ urlFile })).toMatchObject({ password: "second" });
    await writeFile(urlFile, "postgres:/u:sesame@db");
    const refusal = await readConnectionConfig({ urlFile }).then(JSON.stringify, messageOf);
    expect(refusal).toContain(urlFile);
    expect(refusal).not.toContain("sesame");
  });

  it("verifies what sslmode says", async () => {
    const caFile = join(folder, "ca.pem");
    await writeFile(caFile, "CA");
    const sslOf = async (mode: string, ca = true) =>
      (await readConnectionConfig({ url: new Secret(`postgres://u@db/r${mode}`), ...(ca ? { caFile } : {}) })).ssl;
    expect(await sslOf("", false)).toBe(false);
    expect(await sslOf("?sslmode=disable")).toBe(false);
    expect(await sslOf("?sslmode=require", false)).toEqual({ rejectUnauthorized: false });
    expect(await sslOf("?sslmode=verify-full", false)).toEqual({ rejectUnauthorized: true });
    expect(await sslOf("")).toEqual({ rejectUnauthorized: true, ca: "CA" });
    for (const mode of ["require", "verify-ca"]) {
      expect(await sslOf(`?sslmode=${mode}`)).toMatchObject({ ca: "CA", checkServerIdentity: expect.any(Function) });
    }
  });
});
