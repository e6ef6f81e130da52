import { messageOf } from "@cache-registry/core/errors";
import { createBackoff, sleep } from "@cache-registry/runtime/backoff";
import type { Logger } from "@cache-registry/runtime/logger";
import { migrate } from "../postgres-schema/migrations.ts";
import { isConflict, isConnectionLoss, sqlStateOf } from "./errors.ts";
import type { Link } from "./link.ts";

const CONNECT_TIMEOUT = 5_000;

/** The user or the database may be made, or a password arrive, while we wait. 53: no connection is left. */
const MAY_COME = /^(?:28|3D|53)/;

type Open = (options: {
  readonly connectTimeout: number;
  readonly onHeard: () => void;
  readonly onLost: () => void;
}) => Promise<Link>;

/**
 * Waits for the database and brings it to this program's schema, so that it does not matter which of them starts first.
 * @throws Error on what waiting does not help, and the signal's reason
 */
export async function untilMigrated({
  open,
  signal,
  logger,
}: {
  readonly open: Open;
  readonly signal: AbortSignal | undefined;
  readonly logger: Logger | undefined;
}): Promise<void> {
  const backoff = createBackoff({ initial: 100, max: 2_000 });
  let told = "";
  for (;;) {
    signal?.throwIfAborted();
    try {
      const link = await open({ connectTimeout: CONNECT_TIMEOUT, onHeard() {}, onLost() {} });
      try {
        return await migrate(link.client);
      } finally {
        await link.end();
      }
    } catch (error) {
      const passing = isConnectionLoss(error) || isConflict(error) || MAY_COME.test(sqlStateOf(error) ?? "");
      if (!passing) throw error;
      // Once for each reason: it may take hours.
      const reason = messageOf(error);
      if (reason !== told) logger?.warn({ reason }, "waiting for the metadata database");
      told = reason;
      await sleep(backoff.next(), signal);
    }
  }
}
