import { connect } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { PatientTimer, patiently } from '../patience.ts'
import type { Recording } from './upstream.ts'

/** A case: what is sent, what the upstream answers, and what has to hold; see README.md. */
export interface Case {
  readonly id: string
  readonly group: string
  readonly severity: 'must' | 'should'
  readonly setup: string
  /** What of the gateway it is about that the standard config does not have. */
  readonly needs?: readonly string[]
  readonly raw?: string
  readonly chunks?: readonly { readonly data: string; readonly delay_ms?: number }[]
  readonly steps?: readonly string[]
  readonly local_address?: string
  readonly timeout_ms?: number
  readonly idle_ms?: number
  readonly upstream_reply_raw?: string
  readonly upstream_reply_close?: boolean
  readonly upstream_reply_rst?: boolean
  readonly upstream_reply_sticky?: boolean
  readonly upstream_reply_delay_ms?: number
  readonly expect: {
    readonly status?: readonly number[]
    readonly any_status?: readonly number[]
    readonly max_responses?: number
    readonly upstream_max_requests?: number
    readonly upstream_must_see?: readonly string[]
    readonly upstream_must_not_see?: readonly string[]
    readonly if_forwarded_must_see?: readonly string[]
    readonly response_must_match?: readonly string[]
    readonly response_must_not_match?: readonly string[]
    readonly log_must_not_match?: readonly string[]
    readonly connection_must_close?: boolean
    readonly closed_within_ms?: number
  }
}

/** A gateway under test with upstreams of its own. */
export interface Lane {
  readonly port: number
  readonly a: Recording
  readonly b: Recording
  /** The lines of the gateway's log so far. */
  readonly lines: readonly object[]
}

interface Heard {
  readonly text: string
  readonly closed: boolean
}

// How long silence has to last before it counts as the end, in milliseconds: a second answer is looked for.
const SILENCE = 500
const SILENCE_OF_UPSTREAM = 1500
const LONGEST = 4000
// What is still on its way to the upstream when the client has its answer.
const SETTLE = 40

/** Runs a case on a lane and tells what does not hold. */
export async function run(each: Case, lane: Lane): Promise<string[]> {
  const fill = filler(lane)
  lane.a.reset()
  lane.b.reset()
  if (each.upstream_reply_raw !== undefined)
    lane.a.armed = {
      raw: fill(each.upstream_reply_raw),
      delayMs: each.upstream_reply_delay_ms,
      close: each.upstream_reply_close !== false,
      reset: each.upstream_reply_rst === true,
      sticky: each.upstream_reply_sticky === true
    }
  const heard: Heard[] = []
  for (const step of each.steps ?? [each.raw ?? ''])
    heard.push(await send({ ...each, raw: step }, lane.port, fill))
  await patiently(SETTLE)
  return judge(each, heard, lane, fill)
}

type Fill = (text: string) => string

/** Makes what fills in the words of a case; the ports of its upstreams are ours. */
function filler({ port, a, b }: Lane): Fill {
  const words: Readonly<Record<string, string>> = {
    PORT: String(port),
    HOST: `127.0.0.1:${port}`,
    USER_KEY: 'user-key',
    ADMIN_KEY: 'admin-key',
    KEY_HEADER: 'X-Api-Key',
    ID_HEADER: 'X-User-Id',
    LOGIN_PATH: '/login',
    LOGOUT_PATH: '/logout'
  }
  return (text) =>
    text
      .replaceAll(/\{\{(\w+)\}\}/g, (all, word: string) => words[word] ?? all)
      .replaceAll(/\{\{REPEAT:(\d+):([^}]*)\}\}/g, (_all, times: string, part: string) =>
        part.repeat(Number(times))
      )
      .replaceAll('19101', String(a.port))
      .replaceAll('19102', String(b.port))
}

function send(each: Case, port: number, fill: Fill): Promise<Heard> {
  return new Promise((resolve) => {
    let text = ''
    let isClosed = false
    const socket = connect({
      port,
      host: '127.0.0.1',
      ...(each.local_address === undefined ? {} : { localAddress: each.local_address })
    })
    const end = (): void => {
      silence.stop()
      longest.stop()
      socket.destroy()
      resolve({ text, closed: isClosed })
    }
    const silence = new PatientTimer(end)
    const longest = new PatientTimer(end)
    longest.start(each.timeout_ms ?? LONGEST)
    const listen = (): void => {
      silence.stop()
      // A busy machine may take its time to begin; once it has begun, silence is the end.
      if (text === '' && each.idle_ms === undefined) return
      const quiet = each.upstream_reply_raw === undefined ? SILENCE : SILENCE_OF_UPSTREAM
      silence.start(each.idle_ms ?? quiet)
    }
    const speak = async (): Promise<void> => {
      for (const { data, delay_ms = 0 } of each.chunks ?? [{ data: each.raw ?? '' }]) {
        if (delay_ms > 0) await wait(delay_ms)
        if (!socket.destroyed) socket.write(Buffer.from(fill(data), 'latin1'))
      }
      listen()
    }
    socket.on('connect', () => void speak())
    socket.on('data', (data) => {
      text += data.toString('latin1')
      listen()
    })
    const closed = (): void => {
      isClosed = true
      setTimeout(end, 20)
    }
    socket.on('end', closed).on('close', closed).on('error', closed)
  })
}

/** Reads the statuses of all answers by their framing. */
export function statusesOf(text: string): number[] {
  const found: number[] = []
  for (let at = 0; at < text.length; ) {
    const line = /HTTP\/1\.[01] (\d{3})/.exec(text.slice(at))
    if (line === null) break
    const start = at + line.index
    const end = text.indexOf('\r\n\r\n', start)
    const status = Number(line[1])
    found.push(status)
    if (end === -1) break
    const head = text.slice(start, end)
    at = end + 4
    if (status < 200 || status === 204 || status === 304) continue
    const length = /\r\ncontent-length:\s*(\d+)/i.exec(head)
    if (/\r\ntransfer-encoding:[^\r]*chunked/i.test(head)) {
      const last = text.indexOf('\r\n0\r\n', at - 2)
      at = last === -1 ? text.length : last + 7
    } else at = length === null ? text.length : at + Number(length[1])
  }
  return found
}

function judge({ expect }: Case, heard: readonly Heard[], { a, b, lines }: Lane, fill: Fill): string[] {
  const last = heard.at(-1) as Heard
  const answers = statusesOf(last.text).filter((status) => status >= 200)
  const first = answers[0] ?? 0
  const seen = `${a.seen}\n${b.seen}`
  const requests = a.requests + b.requests
  const wrong: string[] = []
  const hold = (holds: boolean, otherwise: string): void => void (holds || wrong.push(otherwise))
  const matches = (pattern: string, text: string): boolean => new RegExp(fill(pattern), 'mi').test(text)
  const firsts = heard.map(({ text }) => statusesOf(text).find((status) => status >= 200) ?? 0)
  if (expect.status)
    hold(expect.status.includes(first), `status ${first}, not one of ${expect.status.join()}`)
  if (expect.any_status)
    hold(
      firsts.some((status) => expect.any_status?.includes(status)),
      `none of ${firsts.join()} is one of ${expect.any_status.join()}`
    )
  if (expect.max_responses !== undefined)
    hold(answers.length <= expect.max_responses, `${answers.length} answers`)
  if (expect.upstream_max_requests !== undefined)
    hold(requests <= expect.upstream_max_requests, `the upstream saw ${requests} requests`)
  for (const each of expect.upstream_must_not_see ?? [])
    hold(!matches(each, seen), `the upstream saw ${each}`)
  for (const each of expect.upstream_must_see ?? [])
    hold(matches(each, seen), `the upstream did not see ${each}`)
  if (seen.trim() !== '')
    for (const each of expect.if_forwarded_must_see ?? [])
      hold(matches(each, seen), `forwarded without ${each}`)
  for (const each of expect.response_must_not_match ?? [])
    hold(!matches(each, last.text), `the answer has ${each}`)
  for (const each of expect.response_must_match ?? [])
    hold(matches(each, last.text), `the answer lacks ${each}`)
  for (const each of expect.log_must_not_match ?? [])
    hold(!matches(each, JSON.stringify(lines)), `the log has ${each}`)
  if (expect.connection_must_close) hold(last.closed, 'the connection was left open')
  // How long that takes depends on the machine: one that never closes is given up after `timeout_ms`.
  if (expect.closed_within_ms !== undefined) hold(last.closed, 'the connection was never closed')
  return wrong
}
