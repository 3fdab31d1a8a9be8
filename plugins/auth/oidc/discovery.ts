import { setTimeout as wait } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import * as client from 'openid-client'
import { monotonic } from '../../../src/lib/clock.ts'
import type { ProviderFetch } from '../back-channel.ts'
import { authUnavailable } from '../unavailable.ts'
import { causeOf, InsecurePage } from './errors.ts'
import type { OidcOptions } from './options.ts'

/** The timeout of a request to the provider. */
export const TIMEOUT_SECONDS = 5
const MAX_AGE_MS = 600_000
// The pause after a failed request.
const RETRY_DELAY_MS = 2000
// How long a request waits for a newer document while an older one is usable.
const MAX_REFRESH_WAIT_MS = 1000

// The signature algorithms without a discovery document.
const ID_TOKEN_ALGORITHMS = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512'],
  ...['EdDSA', 'Ed25519', 'HS256', 'HS384', 'HS512']
]

/** The discovery document of a provider: fetched on first use, and again when it is old or an endpoint has moved. */
export class Discovery {
  readonly #options: OidcOptions
  readonly #log: FastifyBaseLogger
  readonly #fetch: ProviderFetch | undefined
  readonly #insecure: ((config: client.Configuration) => void)[]
  #known: client.Configuration | undefined
  #text = ''
  #fetchedAt = Number.NEGATIVE_INFINITY
  #failedAt = Number.NEGATIVE_INFINITY
  #fetching: Promise<client.Configuration> | undefined

  /** With `fetch`, an upstream gets the requests. */
  constructor(options: OidcOptions, fetch: ProviderFetch | undefined, log: FastifyBaseLogger) {
    this.#options = options
    this.#fetch = fetch
    this.#log = log
    // The upstream decides about TLS; the URLs are only names there.
    this.#insecure =
      options.issuer.startsWith('http:') || fetch !== undefined ? [client.allowInsecureRequests] : []
  }

  /** Returns the configuration, fetched again if it is older than `maxAge` milliseconds and the provider responds soon; throws SP_ERR_AUTH_UNAVAILABLE if none is known. */
  async get(maxAge = MAX_AGE_MS): Promise<client.Configuration> {
    const known = this.#known
    const now = monotonic()
    if (known !== undefined && (this.#isStatic || now - this.#fetchedAt < maxAge)) return known
    if (this.#fetching === undefined && now - this.#failedAt < RETRY_DELAY_MS) {
      if (known === undefined) throw authUnavailable(5)
      return known
    }
    this.#fetching ??= this.#load().finally(() => {
      this.#fetching = undefined
    })
    const fetching = this.#fetching.catch(() => this.#known)
    const found = await (known === undefined
      ? fetching
      : Promise.race([fetching, wait(MAX_REFRESH_WAIT_MS, known, { ref: false })]))
    if (found === undefined) throw authUnavailable(5)
    return found
  }

  /** Makes the next use fetch the document again. */
  expire(): void {
    this.#fetchedAt = Number.NEGATIVE_INFINITY
    this.#failedAt = Number.NEGATIVE_INFINITY
  }

  /** Whether the config has every required endpoint, so that nothing is fetched. */
  get #isStatic(): boolean {
    const { authorization, token, jwks } = this.#options.endpoints
    return authorization !== undefined && token !== undefined && jwks !== undefined
  }

  async #load(): Promise<client.Configuration> {
    try {
      const found = this.#isStatic
        ? { issuer: this.#options.issuer, id_token_signing_alg_values_supported: ID_TOKEN_ALGORITHMS }
        : await this.#discover()
      const metadata = { ...found, ...this.#configuredEndpoints() } as client.ServerMetadata
      const text = JSON.stringify(metadata)
      this.#fetchedAt = monotonic()
      if (this.#known !== undefined && this.#text === text) return this.#known
      if (this.#known !== undefined)
        this.#log.info({ issuer: this.#options.issuer }, 'oidc discovery document changed')
      this.#known = this.#configure(metadata)
      this.#text = text
      return this.#known
    } catch (error) {
      this.#failedAt = monotonic()
      this.#log.warn(
        { issuer: this.#options.issuer, cause: causeOf(error, this.#options.issuer) },
        'oidc provider discovery failed'
      )
      throw error
    }
  }

  async #discover(): Promise<client.ServerMetadata> {
    const { issuer, clientId } = this.#options
    const found = await client.discovery(new URL(issuer), clientId, undefined, client.None(), {
      execute: this.#insecure,
      timeout: TIMEOUT_SECONDS,
      ...(this.#fetch === undefined ? {} : { [client.customFetch]: this.#fetch })
    })
    const metadata = found.serverMetadata()
    const { authorization_endpoint: page = '' } = metadata
    // Browsers go there, not the gateway.
    if (
      this.#fetch !== undefined &&
      issuer.startsWith('https:') &&
      !page.startsWith('https:') &&
      this.#options.endpoints.authorization === undefined
    )
      throw new InsecurePage(page)
    return metadata
  }

  #configuredEndpoints(): Partial<client.ServerMetadata> {
    const { authorization, token, userinfo, jwks, endSession } = this.#options.endpoints
    return {
      ...(authorization === undefined ? {} : { authorization_endpoint: authorization }),
      ...(token === undefined ? {} : { token_endpoint: token }),
      ...(userinfo === undefined || userinfo === false ? {} : { userinfo_endpoint: userinfo }),
      ...(jwks === undefined ? {} : { jwks_uri: jwks }),
      ...(endSession === undefined ? {} : { end_session_endpoint: endSession })
    }
  }

  #configure(metadata: client.ServerMetadata): client.Configuration {
    const { clientId, clientSecret } = this.#options
    const config = new client.Configuration(
      metadata,
      clientId,
      clientSecret,
      clientAuthOf(this.#options, metadata.token_endpoint_auth_methods_supported)
    )
    config.timeout = TIMEOUT_SECONDS
    if (this.#fetch !== undefined) config[client.customFetch] = this.#fetch
    for (const allow of this.#insecure) allow(config)
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

/** Chooses the client authentication at the token endpoint: the configured one, else the first that both sides support. */
function clientAuthOf(
  { clientSecret, clientAuth }: OidcOptions,
  supported: readonly string[] | undefined
): client.ClientAuth {
  if (clientSecret === undefined) return client.None()
  // The default is Basic (OpenID Connect Discovery 1.0 section 3).
  const name =
    clientAuth !== 'auto'
      ? clientAuth
      : ((['client_secret_basic', 'client_secret_post', 'client_secret_jwt'] as const).find((each) =>
          supported?.includes(each)
        ) ?? 'client_secret_basic')
  return CLIENT_AUTHS[name](clientSecret)
}
