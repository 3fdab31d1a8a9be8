/** Returns a URL, or a path, without user, password, query and fragment, any of which may be a secret; for logs and messages. */
export function loggableUrl(url: string): string {
  const parsed = URL.parse(url)
  return parsed === null
    ? (url.split(/[?#]/, 1)[0] ?? '')
    : `${parsed.protocol}//${parsed.host}${parsed.pathname}`
}
