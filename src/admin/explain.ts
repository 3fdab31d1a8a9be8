import { isIP } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { Plan } from '../config/plan-types.ts'
import type { Explanation } from '../explain/explanation.ts'
import { explainOffline } from '../explain/offline.ts'
import { isObject } from '../lib/schema.ts'
import { readCaller, standIn } from '../simulation/callers.ts'
import { ActionInvalid, AdminTrace, adminSilent } from './errors.ts'
import type { AdminAccess } from './guard.ts'
import type { AdminSource } from './report.ts'

/** A request to explain, as a message to a worker. */
export interface AdminQuestion {
  readonly method: string
  readonly url: string
  readonly headers: readonly (readonly [string, string])[]
  readonly body: string | undefined
  readonly from: string
  /** Stands in for authentication; undefined to try the credentials of the request. */
  readonly as: unknown
  /** The status of services that gates ask; undefined where it is not known. */
  readonly forward: number | undefined
}

const ACTION: AdminAccess = { access: 'action' }
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

/** Adds the routes that explain requests: any one that is described, and those that were signed. */
export function addExplain(app: FastifyInstance, source: AdminSource): void {
  const view = async (of: Parameters<AdminSource['view']>[0]): Promise<unknown> => source.view(of)
  // Each builds a gateway, so they wait for each other.
  let last: Promise<unknown> = Promise.resolve()
  app.post('/explain', { config: ACTION }, async (request) => {
    const question = questionOf(request.body)
    const current = last.then(() => view({ kind: 'explain', question }))
    last = current.catch(() => {})
    const explanation = await current
    if (explanation === undefined) throw adminSilent()
    return explanation
  })
  app.get('/explain', async () => {
    const list = await view({ kind: 'explained' })
    if (list === undefined) throw adminSilent()
    return list
  })
  app.get<{ Params: { id: string } }>('/explain/:id', async ({ params: { id } }) => {
    const explanation = await view({ kind: 'explanation', id })
    if (explanation === undefined) throw new AdminTrace(id)
    return explanation
  })
}

/** Explains a request without calling a service. */
export async function answerQuestion(plan: Plan, question: AdminQuestion): Promise<Explanation> {
  const caller = readCaller(question.as)
  const { explanation } = await explainOffline(plan, {
    ...question,
    body: question.body === undefined ? undefined : Buffer.from(question.body),
    callerFor: caller === undefined ? undefined : standIn(caller),
    gateStatus: question.forward
  })
  return explanation
}

/** Reads a request from JSON; throws an error that says what is expected. */
function questionOf(value: unknown): AdminQuestion {
  const body = isObject(value) ? value : {}
  const { method = 'GET', url, headers = {}, from = '192.0.2.1', forward, as } = body
  if (typeof url !== 'string' || !(url.startsWith('/') || /^https?:\/\//i.test(url)) || /[\r\n]/.test(url))
    throw new ActionInvalid('expected a "url" such as "/orders/1" or "https://api.example.com/orders/1"')
  if (typeof method !== 'string' || !TOKEN.test(method))
    throw new ActionInvalid('expected a "method" such as "GET"')
  if (typeof from !== 'string' || isIP(from) === 0)
    throw new ActionInvalid('expected an IP address in "from"')
  if (
    forward !== undefined &&
    !(Number.isInteger(forward) && Number(forward) >= 100 && Number(forward) <= 599)
  )
    throw new ActionInvalid('expected a status such as 401 in "forward"')
  if (as !== undefined && readCaller(as) === undefined)
    throw new ActionInvalid(
      'expected an object with an "id" in "as", such as {"id": "ada", "roles": ["staff"]}'
    )
  return {
    method,
    url,
    headers: headersOf(headers),
    body: typeof body['body'] === 'string' ? body['body'] : undefined,
    from,
    as,
    forward: forward as number | undefined
  }
}

function headersOf(value: unknown): [string, string][] {
  const pairs = Object.entries(isObject(value) ? value : {})
  if (pairs.some(([name, text]) => !TOKEN.test(name) || typeof text !== 'string' || /[\r\n]/.test(text)))
    throw new ActionInvalid('expected "headers" such as {"accept": "text/html"}')
  return pairs as [string, string][]
}
