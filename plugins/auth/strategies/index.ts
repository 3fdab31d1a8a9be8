import type { FastifyInstance } from 'fastify'
import { acceptedStrategies } from '../alternatives.ts'
import { apiKey, apiKeyFault, readEntries } from '../credential-files.ts'
import { placesOf } from '../jwt/issuers.ts'
import type { TokenNeeds } from '../oidc/token-lifetime.ts'
import { type AuthOptions, STRATEGIES, type StrategyName } from '../options.ts'
import type { Users } from '../users.ts'
import { apiKeysStrategy } from './api-keys.ts'
import { basicStrategy } from './basic.ts'
import { clientCertificateStrategy } from './client-certificate.ts'
import { isAuthorization } from './credential-places.ts'
import { forwardStrategy } from './forward.ts'
import { jwtStrategy } from './jwt.ts'
import { sessionStrategy } from './session.ts'
import type { Strategy } from './strategy.ts'

/** Makes the strategies that some options define, in the order in which a request tries them. */
export function makeStrategies(
  app: FastifyInstance,
  options: AuthOptions,
  tokens: TokenNeeds,
  users: () => Users
): Strategy[] {
  const { session, jwt, apiKeys, basic, clientCertificate, forward, oidc } = options
  const readsAuthorization = (name: StrategyName, from: readonly string[] = []): boolean =>
    acceptedStrategies(options).includes(name) && from.some(isAuthorization)
  const make: Record<StrategyName, () => Strategy | undefined> = {
    session: () => (session ? sessionStrategy({ users: users(), issuer: oidc?.issuer }, tokens) : undefined),
    jwt: () =>
      jwt === undefined
        ? undefined
        : jwtStrategy(app, jwt, { besideKeys: readsAuthorization('apiKeys', apiKeys?.from) }),
    apiKeys: () =>
      apiKeys === undefined
        ? undefined
        : apiKeysStrategy(apiKeys.from, readEntries(apiKeys, apiKey, apiKeyFault).entries, {
            besideTokens: readsAuthorization('jwt', placesOf(jwt))
          }),
    basic: () => (basic ? basicStrategy(app, users()) : undefined),
    clientCertificate: () => (clientCertificate ? clientCertificateStrategy() : undefined),
    forward: () => (forward === undefined ? undefined : forwardStrategy(app, forward, options.challenge))
  }
  return STRATEGIES.flatMap((name) => make[name]() ?? [])
}
