import { loggableUrl } from '../../../src/lib/http/loggable-url.ts'
import { isLoopbackHost } from '../../../src/lib/http/networks.ts'
import { isObject } from '../../../src/lib/schema.ts'
import type { BackChannel } from '../back-channel.ts'
import type { JwtOptions } from './options.ts'

/** Where the keys of an issuer are. */
export interface KeyPlace {
  /** The URL of the key set, or its path at the upstream; undefined to find it in the discovery document of the issuer. */
  readonly url: string | undefined
  readonly issuer: string | undefined
  /** The name of the upstream that gets the requests, which may use plain http; undefined to send them to the URL. */
  readonly upstream: string | undefined
}

/** Returns where the keys of some options are. */
export function placeOfKeys(jwks: JwtOptions['jwks'], issuer: string | undefined): KeyPlace {
  if (typeof jwks !== 'object')
    return { url: jwks, issuer: jwks === undefined ? issuer : undefined, upstream: undefined }
  const { upstream, path } = jwks
  return { url: path, issuer, upstream }
}

/** Fetches the text of a JSON Web Key Set; rejects with an UnexpectedResponse, or with the error of the request. */
export type FetchKeys = () => Promise<string>

/** The response was not as expected; the message, for the log, says what was requested and what came. */
export class UnexpectedResponse extends Error {}

/** Returns the function that fetches the keys of an issuer. */
export function keyFetcher(channel: BackChannel, { url, issuer = '', upstream }: KeyPlace): FetchKeys {
  const get = async (from: string, accept: string): Promise<string> => {
    const headers = { accept, 'user-agent': 'sallyport' }
    const { status, body } = await channel.send({ method: 'GET', url: from, headers, body: null })
    if (status !== 200) throw new UnexpectedResponse(`expected 200 from ${loggableUrl(from)}, got ${status}`)
    return body.toString('utf8')
  }
  return async () => {
    const found = url ?? (await discover())
    return get(found, 'application/jwk-set+json, application/json')
  }

  /** Returns the URL of the key set in the discovery document (OpenID Connect Discovery 1.0 section 4). */
  async function discover(): Promise<string> {
    const url = discoveryUrl(issuer)
    const document = parsed(await get(url, 'application/json'))
    const from = loggableUrl(url)
    if (!isObject(document)) throw new UnexpectedResponse(`expected a JSON object from ${from}, got none`)
    const { issuer: named, jwks_uri: uri } = document
    // A provider that answers for another issuer must not sign for this one (section 4.3).
    if (named !== issuer)
      throw new UnexpectedResponse(
        `expected the issuer "${issuer}" from ${from}, got ${shown(named)}; set "issuer" exactly as the provider writes it`
      )
    const jwks = typeof uri === 'string' ? URL.parse(uri) : null
    // Plain http is for a provider on this machine, as for the issuer itself.
    const isLocal = issuer.startsWith('http:') && isLoopbackHost(jwks?.hostname ?? '')
    if (jwks === null || !(jwks.protocol === 'https:' || isLocal || upstream !== undefined))
      throw new UnexpectedResponse(
        `expected an https "jwks_uri" from ${from}, got ${shown(typeof uri === 'string' ? loggableUrl(uri) : uri)}`
      )
    return jwks.href
  }
}

/** Returns the URL of an issuer's discovery document. */
export const discoveryUrl = (issuer: string): string =>
  `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const MAX_SHOWN = 200
const shown = (value: unknown): string =>
  value === undefined ? 'none' : (JSON.stringify(value).slice(0, MAX_SHOWN) ?? 'none')
