/** What a Cache-Control field says of a response; times are in seconds. */
export interface ResponseDirectives {
  readonly noStore: boolean
  /** Also true where the directive names fields. */
  readonly private: boolean
  /** Also true where the directive names fields. */
  readonly noCache: boolean
  readonly public: boolean
  readonly mustRevalidate: boolean
  readonly proxyRevalidate: boolean
  readonly maxAge: number | undefined
  readonly sMaxage: number | undefined
  readonly staleWhileRevalidate: number | undefined
  readonly staleIfError: number | undefined
}

/** What a Cache-Control field says of a request; times are in seconds. */
export interface RequestDirectives {
  readonly noStore: boolean
  readonly noCache: boolean
  readonly onlyIfCached: boolean
  readonly maxAge: number | undefined
  readonly minFresh: number | undefined
}

/** The directives of a field by their lower-case names; true where one has no argument. */
export type Directives = ReadonlyMap<string, string | true>

// A list element: a token, and an argument that is a token or a quoted string (RFC 9111 section 5.2).
const DIRECTIVE =
  /[ \t]*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:=(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)|"((?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*)"))?[ \t]*)?(?:,|$)/y

/** Parses the directives of a Cache-Control field; undefined where the field is invalid, or says one directive twice with different arguments. */
export function parseDirectives(field: string): Directives | undefined {
  const directives = new Map<string, string | true>()
  DIRECTIVE.lastIndex = 0
  while (DIRECTIVE.lastIndex < field.length) {
    const match = DIRECTIVE.exec(field)
    if (match === null) return undefined
    const [, spelled, token, quoted] = match
    if (spelled === undefined) continue
    const name = spelled.toLowerCase()
    const argument = token ?? quoted?.replaceAll(/\\(.)/g, '$1') ?? true
    if (directives.has(name) && directives.get(name) !== argument) return undefined
    directives.set(name, argument)
  }
  return directives
}

/** Reads the Cache-Control field of a response; undefined where it is invalid or contradicts itself. */
export function responseDirectives(field: string): ResponseDirectives | undefined {
  const directives = parseDirectives(field)
  return directives === undefined ? undefined : readResponse(directives)
}

/** Reads the directives of a response; undefined where a time is invalid, or where it is both public and private. */
export function readResponse(directives: Directives): ResponseDirectives | undefined {
  const times = readSeconds(directives, ['max-age', 's-maxage', 'stale-while-revalidate', 'stale-if-error'])
  const isPublic = directives.get('public') === true
  const isPrivate = directives.has('private')
  if (times === undefined || (isPublic && isPrivate)) return undefined
  const [maxAge, sMaxage, staleWhileRevalidate, staleIfError] = times
  return {
    noStore: directives.has('no-store'),
    private: isPrivate,
    noCache: directives.has('no-cache'),
    public: isPublic,
    mustRevalidate: directives.has('must-revalidate'),
    proxyRevalidate: directives.has('proxy-revalidate'),
    maxAge,
    sMaxage,
    staleWhileRevalidate,
    staleIfError
  }
}

/** Reads the Cache-Control field of a request; undefined where it is invalid or contradicts itself. */
export function requestDirectives(field: string): RequestDirectives | undefined {
  const directives = parseDirectives(field)
  const times = directives === undefined ? undefined : readSeconds(directives, ['max-age', 'min-fresh'])
  if (directives === undefined || times === undefined) return undefined
  const [maxAge, minFresh] = times
  return {
    noStore: directives.has('no-store'),
    noCache: directives.has('no-cache'),
    onlyIfCached: directives.has('only-if-cached'),
    maxAge,
    minFresh
  }
}

/** Returns the arguments of directives that are times; undefined where one of them is not a number of seconds. */
function readSeconds(
  directives: Directives,
  names: readonly string[]
): readonly (number | undefined)[] | undefined {
  const times = names.map((name) => {
    const argument = directives.get(name)
    return argument === undefined ? undefined : deltaSeconds(argument)
  })
  return times.includes(Number.NaN) ? undefined : times
}

/** The longest time; a larger number stands for infinity (RFC 9111 section 1.2.2). */
export const MAX_SECONDS = 2 ** 31

/** Reads a number of seconds, at most 2^31; NaN for anything else (RFC 9111 section 1.2.2). */
export const deltaSeconds = (text: string | true): number =>
  text !== true && /^\d+$/.test(text) ? Math.min(Number(text), MAX_SECONDS) : Number.NaN

/** Returns a Cache-Control field that lets only the client's own cache store the response. */
export function privateField(field: string | undefined): string {
  const directives = (field ?? '').split(',').map((directive) => directive.trim())
  const kept = directives.filter((each) => each !== '' && !/^(?:public|s-maxage\b)/i.test(each))
  return kept.some((each) => /^(?:private|no-store)$/i.test(each))
    ? kept.join(', ')
    : ['private', ...kept].join(', ')
}
