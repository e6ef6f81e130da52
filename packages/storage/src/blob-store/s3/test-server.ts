import type { AwsCredentials } from "@cache-registry/runtime/cloud/aws-signature";
import { type ScriptedServer, startScriptedServer, TEST_SECRET } from "../object-store/test-server.ts";
import { createS3Client, type S3Client, type S3Location } from "./client.ts";

export type ScriptedS3 = ScriptedServer & {
  readonly location: S3Location;
  readonly credentials: () => Promise<AwsCredentials>;
  readonly client: S3Client;
};

/** For tests: a scripted server and a client of its bucket `images`. */
export async function startScriptedS3(): Promise<ScriptedS3> {
  const server = await startScriptedServer();
  const location = { endpoint: server.url, region: "us-east-1", bucket: "images", pathStyle: true };
  const credentials = async () => ({ accessKeyId: "the-id", secretAccessKey: TEST_SECRET });
  const client = createS3Client({ location, credentials });
  return {
    ...server,
    location,
    credentials,
    client,
    close() {
      client.close();
      return server.close();
    },
  };
}
