import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { JwtOptions } from '../jwt/options.ts'
import { verifierFor } from '../jwt/verifier.ts'
import {
  dropParameter,
  headersIn,
  isAuthorization,
  isBearer,
  isTokenShaped,
  parametersIn,
  readerOf
} from './credential-places.ts'
import type { Strategy } from './strategy.ts'

/** Accepts tokens signed by one of the keys; with `besideKeys` a Bearer may also be an API key. */
export function jwtStrategy(
  app: FastifyInstance,
  options: JwtOptions,
  { besideKeys }: { readonly besideKeys: boolean }
): Strategy {
  const holds = (authorization: string): boolean =>
    isBearer(authorization) && (!besideKeys || isTokenShaped(tokenIn(authorization)))
  const bearer = ({ headers: { authorization } }: FastifyRequest): string[] =>
    authorization !== undefined && holds(authorization) ? [tokenIn(authorization)] : []
  const readers = options.from.map((place) => (isAuthorization(place) ? bearer : readerOf(place)))
  const parameters = parametersIn(options.from)
  const verifier = verifierFor(app, options)
  return {
    name: 'jwt',
    scheme: 'Bearer',
    headers: headersIn(options.from, holds),
    parameters,
    authenticate(request) {
      const tokens = readers.flatMap((read) => read(request))
      for (const name of parameters) dropParameter(request, name)
      const [only] = tokens
      if (only === undefined) return null
      // With two tokens the upstream might read another one than the gateway.
      return tokens.length > 1 ? verifier.refuse('several_tokens') : verifier.verify(only)
    }
  }
}

const tokenIn = (authorization: string): string => authorization.slice('Bearer'.length).trim()
