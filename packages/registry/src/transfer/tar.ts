import type { FileHandle } from "node:fs/promises";

/*
 * The part of tar (POSIX.1-1988 ustar, with GNU's and POSIX.1-2001's ways to say long names and large sizes) that an OCI
 * image layout needs: regular files, read by their position.
 */

export const TAR_BLOCK = 512;
/** Two empty blocks. */
export const TAR_END = Buffer.alloc(2 * TAR_BLOCK);

/** Bytes of a file in an archive. */
export type TarEntry = { readonly name: string; readonly start: number; readonly size: number };

/** A long name or a pax header; both are short texts. */
const MAX_EXTENSION_BYTES = 64 * 1024;
const MAX_OCTAL_SIZE = 8 ** 11 - 1;
const MAX_NAME_BYTES = 100;

export class TarError extends Error {
  override readonly name = "TarError";
}

export const padded = (size: number): number => Math.ceil(size / TAR_BLOCK) * TAR_BLOCK;

/** The header of a regular file, with what comes before it when the name is long. */
export function tarHeader(name: string, size: number): Buffer {
  if (Buffer.byteLength(name) <= MAX_NAME_BYTES) return header(name, size, "0");
  const long = Buffer.alloc(padded(Buffer.byteLength(name) + 1));
  long.write(name);
  const cut = name.slice(0, MAX_NAME_BYTES);
  return Buffer.concat([header("././@LongLink", Buffer.byteLength(name) + 1, "L"), long, header(cut, size, "0")]);
}

function header(name: string, size: number, type: string): Buffer {
  const block = Buffer.alloc(TAR_BLOCK);
  block.write(name, 0, MAX_NAME_BYTES);
  block.write("0000644\0", 100);
  block.write("0000000\0", 108);
  block.write("0000000\0", 116);
  if (size <= MAX_OCTAL_SIZE) {
    block.write(`${size.toString(8).padStart(11, "0")}\0`, 124);
  } else {
    // GNU: a first byte of 0x80, then the number as it is.
    block.writeUInt8(0x80, 124);
    block.writeBigUInt64BE(BigInt(size), 128);
  }
  // No time: equal content gives equal bytes.
  block.write("00000000000\0", 136);
  block.write(type, 156);
  block.write("ustar\u000000", 257);
  block.write("        ", 148);
  block.write(`${checksumOf(block).toString(8).padStart(6, "0")}\0 `, 148);
  return block;
}

function checksumOf(block: Buffer): number {
  let sum = 0;
  for (const byte of block) sum += byte;
  return sum;
}

function text(block: Buffer, start: number, length: number): string {
  const field = block.subarray(start, start + length);
  const end = field.indexOf(0);
  return field.toString("utf8", 0, end < 0 ? length : end);
}

function numberIn(block: Buffer, start: number, length: number): number {
  if ((block[start] ?? 0) & 0x80) return Number(block.readBigUInt64BE(start + length - 8));
  return Number.parseInt(text(block, start, length).trim() || "0", 8);
}

function checkSum(block: Buffer, at: number): void {
  const expected = numberIn(block, 148, 8);
  const blank = Buffer.from(block);
  blank.fill(" ", 148, 156);
  if (checksumOf(blank) !== expected)
    throw new TarError(`no tar header at byte ${at}: the archive is damaged, or no tar`);
}

/** `<length> <key>=<value>\n`, POSIX.1-2001 pax. */
function paxRecords(extension: Buffer): Map<string, string> {
  const records = new Map<string, string>();
  for (let at = 0; at < extension.length; ) {
    const space = extension.indexOf(" ", at);
    const length = Number(extension.toString("utf8", at, space));
    if (space < 0 || !Number.isInteger(length) || length < 5) break;
    const record = extension.toString("utf8", space + 1, at + length - 1);
    const equals = record.indexOf("=");
    records.set(record.slice(0, equals), record.slice(equals + 1));
    at += length;
  }
  return records;
}

export type TarScan = {
  readonly entries: readonly TarEntry[];
  /** Behind the last entry that is whole: where another may be written. */
  readonly end: number;
  /** The archive stops in the middle of something. */
  readonly cut: boolean;
};

/** Reads the headers of an archive. @throws TarError when there is something else than a header */
export async function scanTar(file: FileHandle): Promise<TarScan> {
  const { size: fileSize } = await file.stat();
  const entries: TarEntry[] = [];
  let extended: { name?: string | undefined; size?: number | undefined } = {};
  let end = 0;
  for (let at = 0; ; ) {
    const block = await readExactly(file, at, TAR_BLOCK);
    if (!block) return { entries, end, cut: at < fileSize || Object.keys(extended).length > 0 || fileSize === 0 };
    if (block.every((byte) => byte === 0)) return { entries, end, cut: false };
    checkSum(block, at);
    const type = text(block, 156, 1);
    const size = extended.size ?? numberIn(block, 124, 12);
    if (!Number.isSafeInteger(size) || size < 0) throw new TarError(`a tar header at byte ${at} states no size`);
    const start = at + TAR_BLOCK;
    const next = start + padded(size);
    if (next > fileSize) return { entries, end, cut: true };
    if (type === "L" || type === "x") {
      if (size > MAX_EXTENSION_BYTES) throw new TarError(`a tar header at byte ${at} is too long`);
      const extension = (await readExactly(file, start, size)) ?? Buffer.alloc(0);
      extended = type === "L" ? { ...extended, name: text(extension, 0, size) } : extensionOf(paxRecords(extension));
    } else {
      const prefix = text(block, 345, 155);
      const name = extended.name ?? (prefix === "" ? text(block, 0, 100) : `${prefix}/${text(block, 0, 100)}`);
      if (type === "0" || type === "") entries.push({ name: name.replace(/^\.\//, ""), start, size });
      extended = {};
      end = next;
    }
    at = next;
  }
}

function extensionOf(records: ReadonlyMap<string, string>): { name?: string; size?: number } {
  const [name, size] = [records.get("path"), records.get("size")];
  return { ...(name === undefined ? {} : { name }), ...(size === undefined ? {} : { size: Number(size) }) };
}

async function readExactly(file: FileHandle, position: number, length: number): Promise<Buffer | undefined> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) return undefined;
    filled += bytesRead;
  }
  return buffer;
}
