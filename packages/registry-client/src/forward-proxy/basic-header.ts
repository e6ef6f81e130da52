/** RFC 7617, of the user information in a URL. */
export function basicHeader(username: string, password: string): string {
  const decoded = `${decode(username)}:${decode(password)}`;
  return `Basic ${Buffer.from(decoded, "utf8").toString("base64")}`;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
