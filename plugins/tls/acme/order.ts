import { setTimeout as wait } from 'node:timers/promises'
import type { Authorization, Order } from 'acme-client'
import { isObject } from '../../../src/lib/schema.ts'
import type { Account, Session } from './account.ts'
import type { ChallengeType } from './options.ts'
import { timings } from './timings.ts'
import { kindOf, Problem } from './transport.ts'

/** The names of a certificate, and the challenge types in the order of preference. */
export interface WantedCertificate {
  readonly names: readonly string[]
  readonly challengeTypes: readonly ChallengeType[]
  /** The identifier of the certificate that it replaces (RFC 9773 section 5); undefined for none that the CA knows. */
  readonly replaces: string | undefined
}

/** Orders a certificate; returns its key and chain as PEM. Rejects with a Problem if the CA refuses. */
export async function orderCertificate(
  account: Account,
  { names, challengeTypes, replaces }: WantedCertificate,
  signal: AbortSignal
): Promise<string> {
  const session = await account.session()
  const { client } = session
  const pending = await beginOrder(account, session, names, replaces)
  for (const authorization of await client.getAuthorizations(pending))
    if (authorization.status !== 'valid')
      await prove(account, session, pending, authorization, challengeTypes, signal)
  const { crypto } = await import('acme-client')
  const [key, csr] = await crypto.createCsr(
    { altNames: [...names] },
    await crypto.createPrivateEcdsaKey('P-256')
  )
  const finished = await pollUntilDone(session, signal, await client.finalizeOrder(pending, csr), (current) =>
    client.getOrder(current)
  )
  if (finished.status !== 'valid') throw problemOf(finished.error, `the order is ${finished.status}`)
  return `${key.toString().trimEnd()}\n${await client.getCertificate(finished)}`
}

// The CA has another opinion of the certificate that the order replaces.
const NOT_REPLACEABLE: ReadonlySet<string> = new Set(['alreadyReplaced', 'malformed', 'unauthorized'])

async function beginOrder(
  { options: { profile } }: Account,
  { client, transport }: Session,
  names: readonly string[],
  replaces: string | undefined
): Promise<Order> {
  if (profile !== undefined) checkProfile(profile, await transport.directory())
  const wanted = {
    identifiers: names.map((value) => ({ type: 'dns', value })),
    ...(profile === undefined ? {} : { profile })
  }
  if (replaces === undefined) return client.createOrder(wanted)
  try {
    return await client.createOrder({ ...wanted, ...{ replaces } })
  } catch (error) {
    if (!(error instanceof Problem) || !NOT_REPLACEABLE.has(error.kind)) throw error
    return client.createOrder(wanted)
  }
}

/** Throws if the CA does not offer a profile: one that knows no profiles would ignore it. */
function checkProfile(profile: string, { meta }: Readonly<Record<string, unknown>>): void {
  const offered = isObject(meta) && isObject(meta['profiles']) ? Object.keys(meta['profiles']) : []
  if (offered.includes(profile)) return
  const names = offered.map((name) => `"${name}"`).join(', ')
  throw new Problem(
    'invalidProfile',
    `expected a profile that the CA offers (${names || 'it offers none'}), got "${profile}"`
  )
}

/** Completes a challenge for one name. */
async function prove(
  { challenges }: Account,
  session: Session,
  pending: Order,
  authorization: Authorization,
  challengeTypes: readonly ChallengeType[],
  signal: AbortSignal
): Promise<void> {
  const { client } = session
  const type = challengeTypes.find((candidate) =>
    authorization.challenges.some((offered) => offered.type === candidate)
  )
  const challenge = authorization.challenges.find((offered) => offered.type === type)
  if (type === undefined || challenge === undefined)
    throw new Problem('challenge', `none of its challenges for ${authorization.identifier.value} can be met`)
  const value = await client.getChallengeKeyAuthorization(challenge)
  const withdraw = await challenges
    .present({ type, authorization, token: challenge.token, value })
    .catch((error: Error) => {
      throw new Problem('answer', `the answer to ${type} can't be put up: ${error.message}`)
    })
  try {
    await client.completeChallenge(challenge)
    const finished = await pollUntilDone(session, signal, authorization, async (current) => {
      const [found = current] = await client.getAuthorizations({ ...pending, authorizations: [current.url] })
      return found
    })
    if (finished.status === 'valid') return
    throw problemOf(
      finished.challenges.find(({ error }) => error !== undefined)?.error,
      `the challenge ${type} for ${authorization.identifier.value} is ${finished.status}`
    )
  } finally {
    // The response expires by itself; a failing cleanup must not hide the result.
    await withdraw().catch(() => {})
  }
}

/** Polls an order or authorization until it is no longer pending. */
async function pollUntilDone<T extends { readonly status: string }>(
  { transport }: Session,
  signal: AbortSignal,
  first: T,
  ask: (current: T) => Promise<T>
): Promise<T> {
  let current = first
  for (
    let pause = timings.orderPollInterval;
    current.status === 'pending' || current.status === 'processing';
    pause *= 1.5
  ) {
    const ms = Math.min(Math.max(pause, transport.retryAfter), timings.maxOrderPollInterval)
    await wait(ms, undefined, { ref: false, signal })
    current = await ask(current)
  }
  return current
}

function problemOf(error: unknown, otherwise: string): Problem {
  const { type, detail } = isObject(error) ? error : {}
  return new Problem(kindOf(type) ?? 'challenge', typeof detail === 'string' ? detail : otherwise)
}
