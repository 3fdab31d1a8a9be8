/** Finds a cookie in a Cookie header; undefined where it is not there (RFC 6265 section 4.2). */
export function cookieIn(header: string | undefined, name: string): string | undefined {
  if (header === undefined || !header.includes(name)) return undefined
  for (const pair of header.split(';')) {
    const at = pair.indexOf('=')
    if (at !== -1 && pair.slice(0, at).trim() === name) return pair.slice(at + 1).trim()
  }
  return undefined
}

/** Lists the values of all cookies of a name in a Cookie header, decoded; a cookie of a longer path stands first (RFC 6265 section 5.4). */
export function cookiesIn(header: string | undefined, name: string): string[] {
  if (header === undefined || !header.includes(name)) return []
  return header.split(';').flatMap((pair) => {
    const at = pair.indexOf('=')
    if (at === -1 || pair.slice(0, at).trim() !== name) return []
    const value = pair.slice(at + 1).trim()
    const bare = value.startsWith('"') && value.endsWith('"') && value.length > 1 ? value.slice(1, -1) : value
    try {
      return [decodeURIComponent(bare)]
    } catch {
      return [bare]
    }
  })
}

/** What the name of a cookie begins with that belongs to a log-in under way. */
export const LOGIN_COOKIE = 'sallyport-login-'

/** Takes a cookie out of a Cookie header, and those of log-ins under way. */
export function withoutCookie(header: string, name: string): string {
  return header
    .split(';')
    .filter((pair) => {
      const found = pair.slice(0, Math.max(0, pair.indexOf('='))).trim()
      return found !== name && !found.startsWith(LOGIN_COOKIE)
    })
    .join(';')
    .trim()
}

/** Names the cookie that a Set-Cookie sets, as it comes back: browsers drop spaces around a name, and send the value of a cookie without one as it is (RFC 6265bis section 5.6). */
export function setCookieName(setCookie: string): string {
  const text = setCookie.replace(/^[\s=]+/, '')
  return text.slice(0, Math.max(0, text.indexOf('='))).trim()
}
