import { isIP } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { Plan } from '../config/plan-types.ts'
import type { Explanation } from '../explain/explanation.ts'
import { explainOffline, NoResponse } from '../explain/offline.ts'
import { isObject } from '../lib/schema.ts'
import { readCaller, standIn } from '../simulation/callers.ts'
import { ActionInvalid, AdminTrace, adminBusy, adminSilent } from './errors.ts'
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
// Requests to explain that wait for each other.
const MAX_WAITING = 10
const KEYS = ['method', 'url', 'headers', 'body', 'from', 'as', 'forward']
// The claims of a caller are an object of objects, which are read recursively.
const MAX_DEPTH = 32
// How much of a wrong value an error shows.
const MAX_SHOWN = 50
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

/** Adds the routes that explain requests: any one that is described, and those that were signed. */
export function addExplain(app: FastifyInstance, source: AdminSource): void {
  const view = async (of: Parameters<AdminSource['view']>[0]): Promise<unknown> => source.view(of)
  // Each builds a gateway, so they wait for each other.
  let last: Promise<unknown> = Promise.resolve()
  let waiting = 0
  app.post('/explain', { config: ACTION }, async (request) => {
    const question = questionOf(request.body)
    if (waiting >= MAX_WAITING) throw adminBusy()
    waiting++
    const current = last.then(() => view({ kind: 'explain', question }))
    last = current.catch(() => {}).finally(() => waiting--)
    const answered = (await current) as ExplainAnswer | undefined
    if (answered === undefined) throw adminSilent()
    if ('invalid' in answered) throw new ActionInvalid(answered.invalid)
    return answered
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

/** An explanation, or why the request can't be explained. */
export type ExplainAnswer = Explanation | { readonly invalid: string }

/** Explains a request without calling a service. */
export async function answerQuestion(plan: Plan, question: AdminQuestion): Promise<ExplainAnswer> {
  const caller = readCaller(question.as)
  try {
    const { explanation } = await explainOffline(plan, {
      ...question,
      body: question.body === undefined ? undefined : Buffer.from(question.body),
      callerFor: caller === undefined ? undefined : standIn(caller)
    })
    return explanation
  } catch (error) {
    if (error instanceof NoResponse) return { invalid: error.message }
    throw error
  }
}

/** Reads a request from JSON; throws an error that says what is expected. */
function questionOf(value: unknown): AdminQuestion {
  if (!isObject(value))
    throw new ActionInvalid('expected a JSON object such as {"method": "GET", "url": "/orders/1"}')
  const { method = 'GET', url, headers = {}, body, from = '192.0.2.1', forward, as } = value
  const unknown = Object.keys(value).find((key) => !KEYS.includes(key))
  if (unknown !== undefined)
    throw new ActionInvalid(`unknown "${unknown.slice(0, MAX_SHOWN)}"; expected ${KEYS.join(', ')}`)
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
  if (!isShallow(as, MAX_DEPTH))
    throw new ActionInvalid(`expected an object of at most ${MAX_DEPTH} levels in "as"`)
  if (body !== undefined && typeof body !== 'string') throw new ActionInvalid('expected a text in "body"')
  return {
    method,
    url,
    headers: headersOf(headers),
    body,
    from,
    as,
    forward: forward as number | undefined
  }
}

const isShallow = (value: unknown, levels: number): boolean =>
  typeof value !== 'object' ||
  value === null ||
  (levels > 0 && Object.values(value).every((each) => isShallow(each, levels - 1)))

function headersOf(value: unknown): [string, string][] {
  const pairs = isObject(value) ? Object.entries(value) : []
  if (
    !isObject(value) ||
    pairs.some(([name, text]) => !TOKEN.test(name) || typeof text !== 'string' || /[\r\n]/.test(text))
  )
    throw new ActionInvalid('expected "headers" such as {"accept": "text/html"}')
  return pairs as [string, string][]
}
