import type { FastifyInstance } from 'fastify'
import type { About, OptionFault } from '../../../src/kit/index.ts'
import type { Caller } from '../../../src/lib/caller.ts'
import type { WrongCredential } from '../strategies/strategy.ts'
import { type JwtOption, type JwtOptions, jwtFaults } from './options.ts'
import { resourceFaults } from './resource.ts'
import { issuerIn } from './token.ts'
import { verifierFor } from './verifier.ts'

/** Lists the options of each issuer. */
export const issuersOf = (jwt: JwtOption | undefined): readonly JwtOptions[] =>
  jwt === undefined ? [] : [jwt].flat()

/** Lists the places in which any of the issuers' tokens is read, each once. */
export const placesOf = (jwt: JwtOption | undefined): string[] => [
  ...new Set(issuersOf(jwt).flatMap(({ from }) => from))
]

/** Lists the errors of each issuer; in a list each needs an issuer of its own, by which it is chosen. */
export function issuerFaults(jwt: JwtOption, about: About): OptionFault[] {
  if (!Array.isArray(jwt)) return [...jwtFaults(jwt, about), ...resourceFaults(jwt)]
  const issuers = issuersOf(jwt)
  return issuers.flatMap((options, i) => {
    const { issuer } = options
    const isRepeated = issuers.findIndex((other) => other.issuer === issuer) < i
    return [
      ...[...jwtFaults(options, about), ...resourceFaults(options)].map((fault) => ({
        ...fault,
        path: [i, ...fault.path]
      })),
      ...(issuer === undefined
        ? [
            {
              path: [i],
              message: 'expected an "issuer" in a list of issuers, got none; the "iss" of a token selects one'
            }
          ]
        : isRepeated
          ? [{ path: [i, 'issuer'], message: `expected different issuers, got "${issuer}" twice` }]
          : [])
    ]
  })
}

type Verdict = Caller | WrongCredential | Promise<Caller | WrongCredential>

/** Verifies tokens of one or several issuers. */
export interface TokenVerifier {
  /** Verifies a token that was found in a place, with the keys of its issuer alone. */
  verify(token: string, place: string): Verdict
  /** Refuses a token for a reason. */
  refuse(reason: string): WrongCredential
}

/** Makes the verifier of a list of issuers, which the "iss" of a token selects, or that of a single one. */
export function makeTokenVerifier(app: FastifyInstance, jwt: JwtOption): TokenVerifier {
  const [first, ...others] = issuersOf(jwt).map((options) => ({
    issuer: options.issuer,
    places: new Set(options.from),
    verifier: verifierFor(app, options)
  }))
  if (first === undefined) throw new RangeError('expected an issuer')
  const { verifier } = first
  const refuse = (reason: string): WrongCredential => verifier.refuse(reason)
  if (others.length === 0) return { verify: (token) => verifier.verify(token), refuse }
  const byIssuer = new Map([first, ...others].map((each) => [each.issuer, each]))
  return {
    verify(token, place) {
      const found = byIssuer.get(issuerIn(token))
      return found?.places.has(place) === true
        ? found.verifier.verify(token)
        : verifier.refuse('issuer', token)
    },
    refuse
  }
}
