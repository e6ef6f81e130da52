import { connect, type Socket, type TcpNetConnectOpts } from "node:net";

/*
 * Sockets for many long bodies at once. Node.js reads each into a new buffer of 64 KiB, which lives until the garbage
 * collector comes by, and two hundred sockets with one waiting in each are most of what a small process may have.
 * Here all sockets are read into one buffer, out of which the HTTP parser copies what it passes on, and a socket whose
 * reader is busy is not read from at all.
 */

const LARGE_READ_BYTES = 64 * 1024;
/** What each chunk of a body is while many connections are open. */
const SMALL_READ_BYTES = 16 * 1024;
const FEW_CONNECTIONS = 16;

/** Reads and the callbacks that use them up take turns on one thread, so no two sockets are in it at the same time. */
const large = Buffer.allocUnsafeSlow(LARGE_READ_BYTES);
const small = large.subarray(0, SMALL_READ_BYTES);

let open = 0;

/** Does a pushed chunk reach its reader, here the HTTP parser, before `push` returns? */
function passesThrough(socket: Socket): boolean {
  return socket.readableFlowing === true && socket.readableLength === 0 && socket.listenerCount("data") > 0;
}

/** As `net.connect`; for readers that use a chunk up, or copy it, while they are told of it. */
export function connectFrugally(options: TcpNetConnectOpts): Socket {
  const frugal: TcpNetConnectOpts & { readonly highWaterMark: number } = {
    ...options,
    // At most one chunk waits, here and in the message that takes this mark over.
    highWaterMark: 1,
    onread: {
      buffer: () => (open > FEW_CONNECTIONS ? small : large),
      callback(length, buffer) {
        const chunk = Buffer.from(buffer.buffer, buffer.byteOffset, length);
        if (!passesThrough(socket)) return socket.push(Buffer.from(chunk));
        const more = socket.push(chunk);
        // The next read would overwrite it: rather a broken connection than wrong bytes.
        if (socket.readableLength > 0) socket.destroy(new Error("a chunk was kept by its reader"));
        return more;
      },
    },
  };
  const socket = connect(frugal);
  open += 1;
  socket.once("close", () => {
    open -= 1;
  });
  return socket;
}
