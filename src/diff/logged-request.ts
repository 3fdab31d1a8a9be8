import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import type { LoggedRequest } from '../kit/comparison.ts'
import { isObject } from '../lib/schema.ts'

/** A line of the access log, as `accessLog` writes it. */
export interface LoggedLine extends LoggedRequest {
  /** The Host, if the log has the header; undefined if it has not. */
  readonly host: string | undefined
  /** The name of the route. */
  readonly route: string | undefined
  /** The gate that refused the request; undefined if none did. */
  readonly refusedBy: string | undefined
}

// Longer lines are no lines of an access log.
const MAX_LINE = 64 * 1024

/** Reads the lines of an access log; undefined for a line that is none. */
export async function* readLog(file: string): AsyncGenerator<LoggedLine | undefined> {
  for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity }))
    if (line.trim() !== '') yield line.length > MAX_LINE ? undefined : readLine(line)
}

function readLine(line: string): LoggedLine | undefined {
  let read: unknown
  try {
    read = JSON.parse(line)
  } catch {
    return undefined
  }
  if (!isObject(read)) return undefined
  const { method, path, ip, caller, code, refusedBy, route, headers } = read
  if (typeof method !== 'string' || typeof path !== 'string' || !path.startsWith('/')) return undefined
  const host = isObject(headers) ? headers['host'] : undefined
  return {
    method,
    path,
    ip: typeof ip === 'string' ? ip : '',
    isAnonymous: caller === undefined,
    code: typeof code === 'string' ? code : undefined,
    host: typeof host === 'string' ? host : undefined,
    route: typeof route === 'string' ? route : undefined,
    refusedBy: typeof refusedBy === 'string' ? refusedBy : undefined
  }
}
