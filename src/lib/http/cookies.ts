/** Finds a cookie in a Cookie header; undefined where it is not there (RFC 6265 section 4.2). */
export function cookieIn(header: string | undefined, name: string): string | undefined {
  if (header === undefined || !header.includes(name)) return undefined
  for (const pair of header.split(';')) {
    const at = pair.indexOf('=')
    if (at !== -1 && pair.slice(0, at).trim() === name) return pair.slice(at + 1).trim()
  }
  return undefined
}

/** Takes a cookie out of a Cookie header. */
export function withoutCookie(header: string, name: string): string {
  return header
    .split(';')
    .filter((pair) => pair.slice(0, Math.max(0, pair.indexOf('='))).trim() !== name)
    .join(';')
    .trim()
}

/** Names the cookie that a Set-Cookie sets, as it comes back: browsers drop spaces around a name, and send the value of a cookie without one as it is (RFC 6265bis section 5.6). */
export function setCookieName(setCookie: string): string {
  const text = setCookie.replace(/^[\s=]+/, '')
  return text.slice(0, Math.max(0, text.indexOf('='))).trim()
}
