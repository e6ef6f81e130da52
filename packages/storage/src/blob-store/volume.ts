/** The local volume that a store's bytes are on. Sizes in bytes. */
export type Volume = {
  /** `free` is what this process may still write (statfs(2), f_bavail). */
  usage(): Promise<{ readonly total: number; readonly free: number }>;
  /**
   * A file of nothing in particular. On a full disk it is removed, so that those can work who make room: a database that is
   * full cannot even delete. Size of the file as it is to be.
   */
  readonly reserveBytes: number;
  /** Bytes that it holds now. */
  reserved(): Promise<number>;
  releaseReserve(): Promise<void>;
  /** False when there is no room for it. */
  makeReserve(): Promise<boolean>;
};
