import { z } from "zod";

/** OCI image index, "platform": only the fields that select a child. */
export const Platform = z.object({
  os: z.string(),
  architecture: z.string(),
  variant: z.string().optional(),
});
export type Platform = z.infer<typeof Platform>;

/** Variants that mean the same as none, as containerd normalises them. */
function canonicalVariant(platform: Platform): string {
  if (platform.architecture === "arm64" && platform.variant === "v8") return "";
  if (platform.architecture === "amd64" && platform.variant === "v1") return "";
  return platform.variant ?? "";
}

/** `linux/arm/v7` → Platform. Undefined when it has not two or three parts. */
export function parsePlatform(text: string): Platform | undefined {
  const [os, architecture, variant, rest] = text.split("/");
  if (!os || !architecture || rest !== undefined || variant === "") return undefined;
  return variant === undefined ? { os, architecture } : { os, architecture, variant };
}

export function printPlatform(platform: Platform): string {
  const { os, architecture, variant } = platform;
  return variant ? `${os}/${architecture}/${variant}` : `${os}/${architecture}`;
}

/** A wanted platform without a variant matches every variant; with one, only that variant. */
export function matchesPlatform(wanted: Platform, offered: Platform): boolean {
  if (wanted.os !== offered.os || wanted.architecture !== offered.architecture) return false;
  return wanted.variant === undefined || canonicalVariant(wanted) === canonicalVariant(offered);
}
