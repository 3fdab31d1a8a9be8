import { setTimeout as wait } from 'node:timers/promises'
import type { Authorization, Order } from 'acme-client'
import { isObject } from '../../../src/lib/schema.ts'
import type { Account, Session } from './account.ts'
import type { ChallengeType } from './options.ts'
import { timings } from './timings.ts'
import { kindOf, Problem } from './transport.ts'

/** What is ordered: the names, and the ways to prove that they are ours, the first way first. */
export interface WantedCertificate {
  readonly names: readonly string[]
  readonly challengeTypes: readonly ChallengeType[]
}

/** Orders a certificate and brings it, behind its key, as PEM; rejects with a Problem where the authority refuses. */
export async function orderCertificate(
  account: Account,
  { names, challengeTypes: ways }: WantedCertificate,
  signal: AbortSignal
): Promise<string> {
  const session = await account.session()
  const { client } = session
  const made = await client.createOrder({ identifiers: names.map((value) => ({ type: 'dns', value })) })
  for (const authorization of await client.getAuthorizations(made))
    if (authorization.status !== 'valid') await prove(account, session, made, authorization, ways, signal)
  const { crypto } = await import('acme-client')
  const [key, csr] = await crypto.createCsr(
    { altNames: [...names] },
    await crypto.createPrivateEcdsaKey('P-256')
  )
  const done = await pollUntilDone(session, signal, await client.finalizeOrder(made, csr), (now) =>
    client.getOrder(now)
  )
  if (done.status !== 'valid') throw problemOf(done.error, `the order is ${done.status}`)
  return `${key.toString().trimEnd()}\n${await client.getCertificate(done)}`
}

/** Proves to the authority that a name is ours. */
async function prove(
  { challenges }: Account,
  session: Session,
  made: Order,
  authorization: Authorization,
  ways: readonly ChallengeType[],
  signal: AbortSignal
): Promise<void> {
  const { client } = session
  const way = ways.find((type) => authorization.challenges.some((offered) => offered.type === type))
  const challenge = authorization.challenges.find(({ type }) => type === way)
  if (way === undefined || challenge === undefined)
    throw new Problem('challenge', `none of its challenges for ${authorization.identifier.value} can be met`)
  const value = await client.getChallengeKeyAuthorization(challenge)
  const withdraw = await challenges
    .present({ type: way, authorization, token: challenge.token, value })
    .catch((error: Error) => {
      throw new Problem('answer', `the answer to ${way} can't be put up: ${error.message}`)
    })
  try {
    await client.completeChallenge(challenge)
    const done = await pollUntilDone(session, signal, authorization, async (now) => {
      const [found = now] = await client.getAuthorizations({ ...made, authorizations: [now.url] })
      return found
    })
    if (done.status === 'valid') return
    throw problemOf(
      done.challenges.find(({ error }) => error !== undefined)?.error,
      `the challenge ${way} for ${authorization.identifier.value} is ${done.status}`
    )
  } finally {
    // The answer goes by itself in time; a storage or a DNS that is away must not hide what came out.
    await withdraw().catch(() => {})
  }
}

/** Asks again and again until something is no longer under way. */
async function pollUntilDone<T extends { readonly status: string }>(
  { transport }: Session,
  signal: AbortSignal,
  first: T,
  ask: (now: T) => Promise<T>
): Promise<T> {
  let now = first
  for (
    let pause = timings.orderPollInterval;
    now.status === 'pending' || now.status === 'processing';
    pause *= 1.5
  ) {
    const ms = Math.min(Math.max(pause, transport.retryAfter), timings.maxOrderPollInterval)
    await wait(ms, undefined, { ref: false, signal })
    now = await ask(now)
  }
  return now
}

function problemOf(error: unknown, otherwise: string): Problem {
  const { type, detail } = isObject(error) ? error : {}
  return new Problem(kindOf(type) ?? 'challenge', typeof detail === 'string' ? detail : otherwise)
}
