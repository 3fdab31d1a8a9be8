import type { FastifyInstance, FastifyRequest } from 'fastify'
import { makeTokenVerifier, placesOf } from '../jwt/issuers.ts'
import type { JwtOption } from '../jwt/options.ts'
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

/** Accepts tokens that their issuer has signed with one of its keys; with `besideKeys` a Bearer may also be an API key. */
export function jwtStrategy(
  app: FastifyInstance,
  options: JwtOption,
  { besideKeys }: { readonly besideKeys: boolean }
): Strategy {
  const holds = (authorization: string): boolean =>
    isBearer(authorization) && (!besideKeys || isTokenShaped(tokenIn(authorization)))
  const bearer = ({ headers: { authorization } }: FastifyRequest): string[] =>
    authorization !== undefined && holds(authorization) ? [tokenIn(authorization)] : []
  const from = placesOf(options)
  const readers = from.map((place) => ({ place, read: isAuthorization(place) ? bearer : readerOf(place) }))
  const parameters = parametersIn(from)
  const verifier = makeTokenVerifier(app, options)
  return {
    name: 'jwt',
    scheme: 'Bearer',
    headers: headersIn(from, holds),
    parameters,
    authenticate(request) {
      const tokens = readers.flatMap(({ place, read }) => read(request).map((token) => ({ token, place })))
      for (const name of parameters) dropParameter(request, name)
      const [only] = tokens
      if (only === undefined) return null
      // With two tokens the upstream might read another one than the gateway.
      return tokens.length > 1 ? verifier.refuse('several_tokens') : verifier.verify(only.token, only.place)
    }
  }
}

const tokenIn = (authorization: string): string => authorization.slice('Bearer'.length).trim()
