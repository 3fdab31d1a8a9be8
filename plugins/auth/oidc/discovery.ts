import { setTimeout as wait } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import * as client from 'openid-client'
import { createError } from '../../../src/kit/index.ts'
import { monotonic } from '../../../src/lib/clock.ts'
import { withHeaders } from '../../../src/lib/refusals.ts'
import type { OidcOptions } from './options.ts'

/** The provider can't be reached, so no log-in there can succeed. */
export const ProviderAway = createError('SP_ERR_AUTH_UNAVAILABLE', 'Authentication service unavailable', 503)

/** Seconds that the provider may take for one answer. */
export const TIMEOUT = 5
// All in milliseconds: how old a discovery document may be, how long a failed read is not repeated, and how long a
// request waits for a newer document where there is one already.
const LONGEST_AGE = 600_000
const ASK_AGAIN = 2000
const HASTE = 1000

// What ID tokens may be signed with where no discovery document says it. The token comes over TLS from the token
// endpoint itself, so "alg" does not decide whether it is believed (OpenID Connect Core 3.1.3.7, item 6).
const ALGORITHMS = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512'],
  ...['EdDSA', 'Ed25519', 'HS256', 'HS384', 'HS512']
]

/** What a provider can do and where: read when it is first needed, and again as it ages or turns out to be wrong. */
export class Discovery {
  readonly #said: OidcOptions
  readonly #log: FastifyBaseLogger
  readonly #insecure: ((config: client.Configuration) => void)[]
  #known: client.Configuration | undefined
  #text = ''
  #readAt = Number.NEGATIVE_INFINITY
  #failedAt = Number.NEGATIVE_INFINITY
  #reading: Promise<client.Configuration> | undefined

  constructor(said: OidcOptions, log: FastifyBaseLogger) {
    this.#said = said
    this.#log = log
    this.#insecure = said.issuer.startsWith('http:') ? [client.allowInsecureRequests] : []
  }

  /** Returns what is known, read again where it is older than `age` milliseconds and the provider answers soon; throws SP_ERR_AUTH_UNAVAILABLE where nothing is known yet. */
  async get(age = LONGEST_AGE): Promise<client.Configuration> {
    const known = this.#known
    const now = monotonic()
    if (known !== undefined && (this.#whole || now - this.#readAt < age)) return known
    if (this.#reading === undefined && now - this.#failedAt < ASK_AGAIN) {
      if (known === undefined) throw away()
      return known
    }
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined
    })
    const reading = this.#reading.catch(() => this.#known)
    const found = await (known === undefined
      ? reading
      : Promise.race([reading, wait(HASTE, known, { ref: false })]))
    if (found === undefined) throw away()
    return found
  }

  /** Lets what is known be read again at its next use. */
  outdate(): void {
    this.#readAt = Number.NEGATIVE_INFINITY
    this.#failedAt = Number.NEGATIVE_INFINITY
  }

  /** Whether the config names all that would be discovered. */
  get #whole(): boolean {
    const { authorization, token, jwks } = this.#said.endpoints
    return authorization !== undefined && token !== undefined && jwks !== undefined
  }

  async #read(): Promise<client.Configuration> {
    try {
      const found = this.#whole
        ? { issuer: this.#said.issuer, id_token_signing_alg_values_supported: ALGORITHMS }
        : await this.#discover()
      const metadata = { ...found, ...this.#own() } as client.ServerMetadata
      const text = JSON.stringify(metadata)
      this.#readAt = monotonic()
      if (this.#known !== undefined && this.#text === text) return this.#known
      if (this.#known !== undefined)
        this.#log.info({ issuer: this.#said.issuer }, 'oidc discovery document changed')
      this.#known = this.#configure(metadata)
      this.#text = text
      return this.#known
    } catch (error) {
      this.#failedAt = monotonic()
      this.#log.warn(
        { issuer: this.#said.issuer, cause: causeOf(error, this.#said.issuer) },
        'oidc discovery failed'
      )
      throw error
    }
  }

  async #discover(): Promise<client.ServerMetadata> {
    const { issuer, clientId } = this.#said
    const found = await client.discovery(new URL(issuer), clientId, undefined, client.None(), {
      execute: this.#insecure,
      timeout: TIMEOUT
    })
    return found.serverMetadata()
  }

  #own(): Partial<client.ServerMetadata> {
    const { authorization, token, userinfo, jwks, endSession } = this.#said.endpoints
    return {
      ...(authorization === undefined ? {} : { authorization_endpoint: authorization }),
      ...(token === undefined ? {} : { token_endpoint: token }),
      ...(userinfo === undefined || userinfo === false ? {} : { userinfo_endpoint: userinfo }),
      ...(jwks === undefined ? {} : { jwks_uri: jwks }),
      ...(endSession === undefined ? {} : { end_session_endpoint: endSession })
    }
  }

  #configure(metadata: client.ServerMetadata): client.Configuration {
    const { clientId, clientSecret } = this.#said
    const config = new client.Configuration(
      metadata,
      clientId,
      clientSecret,
      clientAuthOf(this.#said, metadata.token_endpoint_auth_methods_supported)
    )
    config.timeout = TIMEOUT
    for (const permit of this.#insecure) permit(config)
    return config
  }
}

type ClientAuthName = Exclude<OidcOptions['clientAuth'], 'auto'>

const CLIENT_AUTHS: Readonly<Record<ClientAuthName, (secret: string) => client.ClientAuth>> = {
  client_secret_basic: (secret) => client.ClientSecretBasic(secret),
  client_secret_post: (secret) => client.ClientSecretPost(secret),
  client_secret_jwt: (secret) => client.ClientSecretJwt(secret),
  none: () => client.None()
}

/** Chooses how the gateway proves itself at the token endpoint: as the config says, else the first of ours that the provider supports. */
function clientAuthOf(
  { clientSecret, clientAuth }: OidcOptions,
  supported: readonly string[] | undefined
): client.ClientAuth {
  if (clientSecret === undefined) return client.None()
  // A provider that lists nothing takes Basic (OpenID Connect Discovery 1.0 section 3).
  const name =
    clientAuth !== 'auto'
      ? clientAuth
      : ((['client_secret_basic', 'client_secret_post', 'client_secret_jwt'] as const).find((each) =>
          supported?.includes(each)
        ) ?? 'client_secret_basic')
  return CLIENT_AUTHS[name](clientSecret)
}

/** Makes the refusal of a log-in that can't be tried. */
export const away = (): Error => withHeaders(new ProviderAway(), { 'retry-after': '5' })

/** Says for the log why an answer of the provider could not be used; never with a token, a code or a secret in it. */
export function causeOf(error: unknown, issuer: string): string {
  const {
    code,
    error: said,
    name,
    cause
  } = error as { code?: string; error?: string; name?: string; cause?: unknown }
  if (said !== undefined) return said
  const response = cause instanceof Response ? cause : undefined
  if (response !== undefined && code === 'OAUTH_RESPONSE_IS_NOT_CONFORM')
    return `expected 200 from ${withoutQuery(response.url)}, got ${response.status}`
  if (response !== undefined && code === 'OAUTH_RESPONSE_IS_NOT_JSON')
    return `expected JSON from ${withoutQuery(response.url)}, got ${response.headers.get('content-type') ?? 'no content-type'}`
  const mismatch = mismatchIn(error)
  if (mismatch !== undefined)
    return `expected the issuer "${issuer}", got "${mismatch}"; "issuer" is to be written as the provider writes it`
  return code ?? name ?? 'unknown'
}

const withoutQuery = (url: string): string => url.split('?', 1)[0] ?? ''

/** Finds what the provider calls itself, where that is what is wrong. */
function mismatchIn(error: unknown): string | undefined {
  for (let at = error, depth = 0; typeof at === 'object' && at !== null && depth < 4; depth++) {
    const { attribute, claim, body, claims, cause } = at as Record<string, unknown>
    const found = attribute === 'issuer' ? body : claim === 'iss' ? claims : undefined
    const said = found as { issuer?: unknown; iss?: unknown } | undefined
    const name = said?.issuer ?? said?.iss
    if (typeof name === 'string') return name
    at = cause
  }
  return undefined
}
