import { connect as connectHttp2, constants } from "node:http2";
import { connect } from "node:net";

/*
 * One call of the Container Runtime Interface (k8s.io/cri-api runtime/v1, gRPC over a Unix socket), written out by hand: a
 * client library and its generated code for one message of one field would be more to trust than this.
 */

const PULL_IMAGE = "/runtime.v1.ImageService/PullImage";
const LENGTH_DELIMITED = 2;
const MAX_LENGTH = 127;

/** A field whose value is bytes, protocol buffers encoding; short ones only, so that the length is one byte. */
function field(number: number, value: Buffer): Buffer {
  if (value.length > MAX_LENGTH) throw new Error("the name of the image is too long");
  return Buffer.concat([Buffer.from([(number << 3) | LENGTH_DELIMITED, value.length]), value]);
}

/** `PullImageRequest{image: ImageSpec{image: <name>}}` in a frame of gRPC: not compressed, length, message. */
export function pullImageFrame(image: string): Buffer {
  const message = field(1, field(1, Buffer.from(image)));
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/**
 * Asks the container runtime to pull an image, and resolves when it has answered, whatever it says.
 * @throws Error when nobody listens on the socket, or the signal's reason
 */
export async function askToPull(socket: string, image: string, signal: AbortSignal): Promise<void> {
  const session = connectHttp2("http://localhost", { createConnection: () => connect(socket) });
  try {
    await new Promise<void>((resolve, reject) => {
      session.once("error", reject);
      const call = session.request(
        {
          [constants.HTTP2_HEADER_METHOD]: "POST",
          [constants.HTTP2_HEADER_PATH]: PULL_IMAGE,
          [constants.HTTP2_HEADER_CONTENT_TYPE]: "application/grpc",
          [constants.HTTP2_HEADER_TE]: "trailers",
        },
        { signal },
      );
      call.once("error", reject).once("close", resolve).resume();
      call.end(pullImageFrame(image));
    });
  } finally {
    session.destroy();
  }
}
