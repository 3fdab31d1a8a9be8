import type { FastifyInstance } from 'fastify'
import type { RouteInfo } from '../../src/kit/index.ts'
import { compileFormat, type Format } from '../../src/lib/body/format.ts'
import { FormatError } from '../../src/lib/body/format-errors.ts'
import { formatOptionsOf } from '../../src/lib/body/format-options.ts'
import {
  isJsonFault,
  isJsonObject,
  ProvenJson,
  parsedJson,
  provenJson,
  stringifyJson
} from '../../src/lib/body/json.ts'
import { compileShape, hasShape } from '../../src/lib/body/shape.ts'
import { cacheOptionsOf } from '../../src/lib/http/cache-options.ts'
import { headerOf } from '../../src/lib/http/flat-head.ts'
import { makeRetry } from '../../src/lib/retry.ts'
import { templateParts } from '../../src/lib/template-parts.ts'
import { duration, size } from '../../src/lib/units.ts'
import { CallFailed, type LegFailure } from './failures.ts'
import { isSafe, type Leg } from './leg.ts'
import { invalidate, LegCache } from './leg-cache.ts'
import { legPath } from './leg-path.ts'
import { compileLegRequest } from './leg-request.ts'
import type { AggregateOptions, LegOptions } from './options.ts'
import { dependencies, legsRead, referencesIn } from './plan.ts'
import { type LegValue, type ReadValue, reference } from './references.ts'

/** Compiles all legs of the response of a route, by name. */
export function compileLegs(
  app: FastifyInstance,
  options: AggregateOptions,
  info: RouteInfo
): ReadonlyMap<string, Leg> {
  const waitsFor = dependencies(options.legs)
  const read = legsRead(options)
  return new Map(
    Object.entries(options.legs).map(([name, leg]) => [
      name,
      compileLeg(app, name, leg, {
        info,
        waitsFor: waitsFor.get(name) ?? [],
        needsValue: read.has(name),
        isMerged: options.merge?.includes(name) === true
      })
    ])
  )
}

/** How the rest of the response uses a leg. */
interface LegUse {
  readonly info: RouteInfo
  readonly waitsFor: readonly string[]
  /** Whether something reaches into its value. */
  readonly needsValue: boolean
  /** Whether its value is merged into others, and has to be an object. */
  readonly isMerged: boolean
}

function compileLeg(
  app: FastifyInstance,
  name: string,
  options: LegOptions,
  { info, waitsFor, needsValue, isMerged }: LegUse
): Leg {
  const safe = isSafe(options)
  const upstream = app.upstream(options.upstream)
  const timeout = options.timeout === undefined ? undefined : duration(options.timeout)
  const from = options.format === undefined ? 'json' : formatOptionsOf(options.format).from
  const leg = {
    name,
    upstream,
    policy: upstream.policyFor({
      headersTimeout: timeout,
      retry: options.retry === undefined ? undefined : makeRetry(options.retry)
    }),
    safe,
    waitsFor,
    required: options.required ?? options.fallback === undefined,
    fallback: options.fallback === undefined ? undefined : fixedValue(options.fallback),
    pass: options.pass,
    path: legPath(options.path),
    request: compileLegRequest(options),
    each: options.each === undefined ? undefined : onlyReference(options.each),
    max: options.max,
    concurrency: options.concurrency,
    isSharedByPath:
      safe &&
      referencesIn([Object.values(options.headers), options.body]).every(({ kind }) => kind !== 'item'),
    maxBody: size(options.maxBody),
    timeout: timeout ?? Number.POSITIVE_INFINITY,
    from,
    isParsed: from !== 'json' || needsValue || hasShape(options),
    read: isMerged ? objectReader(options) : responseReader(options, needsValue)
  }
  const cache = cacheOptionsOf(options.cache)
  return {
    ...leg,
    cache: cache === undefined ? undefined : new LegCache(app, { info, options, cache, leg }),
    invalidate: safe ? undefined : (path) => invalidate(app, options.upstream, path)
  }
}

/** Returns a value of the config as the result of a leg. */
function fixedValue(value: unknown): LegValue {
  return { proven: new ProvenJson(Buffer.from(stringifyJson(value))), value }
}

/** Returns the reader of a text that is one reference. */
function onlyReference(text: string): ReadValue {
  const [only] = templateParts(text)
  return typeof only === 'object' ? reference(only.reference).read : () => undefined
}

function responseReader(options: LegOptions, needsValue: boolean): Leg['read'] {
  const format = options.format === undefined ? undefined : compileFormat(options.format)
  const maxBody = size(options.maxBody)
  const apply = hasShape(options) ? compileShape(options) : undefined
  const isJson = format === undefined || format.from === 'json'
  return ({ body, fields }) => {
    // What nothing looks into is copied as it came: numbers, the order of keys and white space survive.
    if (isJson && apply === undefined && !needsValue) return { proven: proven(body), value: undefined }
    if (isJson) {
      const parsed = parsedJson(body)
      if (isJsonFault(parsed)) throw new CallFailed(FORMAT)
      return apply === undefined
        ? { proven: parsed.proven, value: parsed.value }
        : { proven: undefined, value: apply(parsed.value) }
    }
    const value = readAs(format, body, headerOf(fields, 'content-type'), maxBody)
    return { proven: undefined, value: apply === undefined ? value : apply(value) }
  }
}

function objectReader(options: LegOptions): Leg['read'] {
  const read = responseReader(options, true)
  return (response) => {
    const result = read(response)
    if (!isJsonObject(result.value)) throw new CallFailed(FORMAT)
    return result
  }
}

const FORMAT: LegFailure = { reason: 'format' }

function proven(body: Buffer): ProvenJson {
  const json = provenJson(body)
  if (isJsonFault(json)) throw new CallFailed(FORMAT)
  return json
}

function readAs(format: Format, body: Buffer, type: string | undefined, maxBody: number): unknown {
  try {
    return format.read(body, type, maxBody)
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw new CallFailed({ reason: error.kind })
  }
}
