/** Returns the value of a cookie in a Cookie header (RFC 6265 section 4.2); undefined where it is missing. */
export function cookieIn(header: string | undefined, name: string): string | undefined {
  if (header === undefined || !header.includes(name)) return undefined
  for (const pair of header.split(';')) {
    const at = pair.indexOf('=')
    if (at !== -1 && pair.slice(0, at).trim() === name) return pair.slice(at + 1).trim()
  }
  return undefined
}

/** Returns the decoded values of all cookies of a name; that of the longest path is first (RFC 6265 section 5.4). */
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

/** The prefix of the cookies of log-ins in progress. */
export const LOGIN_COOKIE = 'sallyport-login-'

/** Removes a cookie, and those of log-ins in progress, from a Cookie header. */
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

/** Returns the name of the cookie that a Set-Cookie sets, as browsers send it back: without surrounding spaces, and empty for a cookie without a name (RFC 6265bis section 5.6). */
export function setCookieName(setCookie: string): string {
  const text = setCookie.replace(/^[\s=]+/, '')
  return text.slice(0, Math.max(0, text.indexOf('='))).trim()
}

/** How a sticky cookie is kept. */
export interface StickyCookieOptions {
  /** Milliseconds; undefined until the browser is closed. */
  readonly maxAge: number | undefined
  readonly isSecure: boolean
}

/** Returns the Set-Cookie that keeps a client at a target or a part: for all paths, hidden from scripts, and not sent by other sites' forms. */
export function stickyCookie(name: string, value: string, { maxAge, isSecure }: StickyCookieOptions): string {
  const kept = maxAge === undefined ? '' : `; Max-Age=${Math.ceil(maxAge / 1000)}`
  return `${name}=${value}; Path=/; HttpOnly; SameSite=Lax${kept}${isSecure ? '; Secure' : ''}`
}
