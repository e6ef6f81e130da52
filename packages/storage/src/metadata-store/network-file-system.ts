import { statfsSync } from "node:fs";

/** statfs(2), f_type. WAL needs shared memory and honest locks, which these do not give (sqlite.org/wal.html). */
const NETWORK_FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0x6969, "NFS"],
  [0x517b, "SMB"],
  [0xff534d42, "CIFS"],
  [0xfe534d42, "SMB2"],
  [0x00c36400, "Ceph"],
  [0x5346414f, "AFS"],
  [0x6b414653, "AFS"],
  [0x01021997, "9p"],
  [0x0bd00bd0, "Lustre"],
  [0x47504653, "GPFS"],
  [0x01161970, "GFS2"],
  [0x7461636f, "OCFS2"],
]);

/** @throws Error when the folder is on a file system that other machines share */
export function assertLocal(folder: string, typeOf: (path: string) => number = (path) => statfsSync(path).type): void {
  // A signed number on some machines.
  const network = NETWORK_FILE_SYSTEMS.get(typeOf(folder) >>> 0);
  if (network) throw new Error(`${folder} is on ${network}: SQLite needs a local file system`);
}
