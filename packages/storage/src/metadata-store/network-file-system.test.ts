import { tmpdir } from "node:os";
import { expect, it } from "vitest";
import { assertLocal } from "./network-file-system.ts";

it.each([
  ["NFS", 0x6969],
  ["CIFS", 0xff534d42],
  ["CIFS", 0xff534d42 | 0],
  ["SMB2", 0xfe534d42 | 0],
  ["Ceph", 0x00c36400],
  ["9p", 0x01021997],
])("refuses %s (%i)", (name, type) => {
  expect(() => assertLocal("/data", () => type)).toThrow(`/data is on ${name}: SQLite needs a local file system`);
});

it("takes what is local: ext4, XFS, overlay, tmpfs, and this machine's", () => {
  for (const type of [0xef53, 0x58465342, 0x794c7630, 0x01021994]) assertLocal("/data", () => type);
  expect(() => assertLocal(tmpdir())).not.toThrow();
});
