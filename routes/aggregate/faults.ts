import type { About, OptionFault } from '../../src/kit/index.ts'
import { type FormatOption, formatFaults, formatOptionsOf } from '../../src/lib/body/format-options.ts'
import { PathError } from '../../src/lib/body/paths.ts'
import { shapeFaults } from '../../src/lib/body/shape.ts'
import { cacheFaults, cacheOptionsOf } from '../../src/lib/http/cache-options.ts'
import { headerFaults } from '../../src/lib/http/header-options.ts'
import { paramFaults } from '../../src/lib/http/rewrite.ts'
import { upstreamFault } from '../../src/lib/http/upstream-names.ts'
import { isObject, nearest } from '../../src/lib/schema.ts'
import { TemplateError, templateParts } from '../../src/lib/template-parts.ts'
import { isSafe } from './leg.ts'
import { isSafePath } from './leg-path.ts'
import type { AggregateOptions, LegOptions } from './options.ts'
import { circleOf, dependencies } from './plan.ts'
import { reference } from './references.ts'

type Path = OptionFault['path']

/** Returns the errors in the options of an aggregated response. */
export function faults(options: AggregateOptions, about: About): OptionFault[] {
  const { legs, body, merge, partial, format } = options
  const names = Object.keys(legs)
  const found = names.flatMap((name) => legFaults(name, legs[name] as LegOptions, { about, names }))
  if (body !== undefined) found.push(...textFaults(body, ['body'], { about, names, hasItem: false }))
  if (body !== undefined && merge !== undefined)
    found.push({ path: ['merge'], message: 'expected either "body" or "merge", got both' })
  if (partial === 'body' && body !== undefined && !isObject(body))
    found.push({
      path: ['partial'],
      message: 'expected "header", got "body"; the body is no object to add "_partial" to'
    })
  for (const [i, name] of (merge ?? []).entries()) found.push(...mergeFaults(name, legs, ['merge', i]))
  if (format !== undefined) found.push(...answerFormatFaults(format))
  found.push(...keyFaults(options))
  if (found.length > 0) return found
  const circle = circleOf(dependencies(legs))
  return circle === undefined
    ? []
    : [
        {
          path: ['legs', circle[0] as string],
          message: `expected legs that don't wait for one another, got ${circle.join(' -> ')}`
        }
      ]
}

function mergeFaults(name: string, legs: AggregateOptions['legs'], path: Path): OptionFault[] {
  const leg = Object.hasOwn(legs, name) ? legs[name] : undefined
  if (leg === undefined) return [{ path, message: unknownLeg(name, Object.keys(legs)) }]
  if (leg.each !== undefined)
    return [
      { path, message: `expected a leg whose result is an object, got "${name}", whose "each" makes a list` }
    ]
  return leg.fallback === undefined || isObject(leg.fallback)
    ? []
    : [
        {
          path: ['legs', name, 'fallback'],
          message: `expected an object, which "merge" needs, got ${JSON.stringify(leg.fallback)}`
        }
      ]
}

function answerFormatFaults(format: FormatOption): OptionFault[] {
  const { from } = formatOptionsOf(format)
  if (from !== 'json')
    return [
      {
        path: ['format', ...(typeof format === 'string' ? [] : ['from'])],
        message: `expected "json", which legs become, got "${from}"; the "format" of a leg says what its upstream sends`
      }
    ]
  return formatFaults(format, ['format'])
}

interface Surroundings {
  readonly about: About
  readonly names: readonly string[]
}

function legFaults(name: string, leg: LegOptions, { about, names }: Surroundings): OptionFault[] {
  const at: Path = ['legs', name]
  const texts = { about, names, hasItem: leg.each !== undefined }
  const found: OptionFault[] = [
    ...textFaults(leg.path, [...at, 'path'], texts),
    ...Object.entries(leg.headers).flatMap(([header, value]) => [
      ...headerFaults(header, value, ['legs', name, 'headers', header]),
      ...textFaults(value, [...at, 'headers', header], texts)
    ]),
    ...(leg.body === undefined ? [] : textFaults(leg.body, [...at, 'body'], texts)),
    ...shapeFaults(leg, at)
  ]
  const upstream = upstreamFault(leg.upstream, about.upstreams)
  if (upstream !== undefined) found.push({ path: [...at, 'upstream'], message: upstream })
  if (leg.format !== undefined) found.push(...legFormatFaults(leg.format, [...at, 'format']))
  if (!isSafePath(literalPath(leg.path)))
    found.push({
      path: [...at, 'path'],
      message: `expected a path without "." and "..", empty segments and a "%" alone, got "${leg.path}"`
    })
  found.push(...legCacheFaults(leg, [...at, 'cache']))
  if (leg.each !== undefined) found.push(...eachFaults(leg.each, [...at, 'each'], { about, names }))
  if (leg.pass !== undefined && !(leg.required ?? leg.fallback === undefined))
    found.push({
      path: [...at, 'pass'],
      message: 'expected a required leg, got an optional one, which never decides the status'
    })
  if (leg.required === true && leg.fallback !== undefined && leg.each === undefined)
    found.push({
      path: [...at, 'fallback'],
      message: 'expected either "required": true or "fallback", got both'
    })
  return found
}

function legCacheFaults(leg: LegOptions, path: Path): OptionFault[] {
  const cache = cacheOptionsOf(leg.cache)
  if (cache === undefined) return []
  if (!isSafe(leg))
    return [
      {
        path,
        message: `expected a leg that only reads, got "method": "${leg.method}"; "safe": true says that it does`
      }
    ]
  return cacheFaults(cache).map((fault) => ({ ...fault, path: [...path, ...fault.path] }))
}

function legFormatFaults(format: FormatOption, path: Path): OptionFault[] {
  const { to } = formatOptionsOf(format)
  return to.length === 1 && to[0] === 'json'
    ? formatFaults(format, path)
    : [
        {
          path: [...path, 'to'],
          message: `expected no "to" on a leg, got ${JSON.stringify(to)}; the "format" beside "legs" is that of the response`
        }
      ]
}

// A value is one segment, or a part of one.
function literalPath(text: string): string {
  try {
    return templateParts(text)
      .map((part) => (typeof part === 'string' ? part : 'x'))
      .join('')
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error
    return '/'
  }
}

function eachFaults(each: string, path: Path, { about, names }: Surroundings): OptionFault[] {
  const found = textFaults(each, path, { about, names, hasItem: false })
  if (found.length > 0) return found
  const parts = templateParts(each)
  const [only] = parts
  return parts.length === 1 && typeof only === 'object' && reference(only.reference).kind !== 'request'
    ? []
    : [{ path, message: `expected one value that is a list, such as "{legs.orders.items}", got "${each}"` }]
}

/** Returns the errors of all texts with values in a part of the options. */
function textFaults(
  value: unknown,
  path: Path,
  { about, names, hasItem }: Surroundings & { readonly hasItem: boolean }
): OptionFault[] {
  if (Array.isArray(value))
    return value.flatMap((each, i) => textFaults(each, [...path, i], { about, names, hasItem }))
  if (isObject(value))
    return Object.entries(value).flatMap(([key, each]) =>
      textFaults(each, [...path, key], { about, names, hasItem })
    )
  if (typeof value !== 'string') return []
  try {
    for (const part of templateParts(value)) {
      if (typeof part === 'string') continue
      const { kind, leg } = reference(part.reference)
      if (leg !== undefined && !names.includes(leg)) return [{ path, message: unknownLeg(leg, names) }]
      if (kind === 'item' && !hasItem)
        return [{ path, message: `expected "each" beside "{${part.reference}}", got none` }]
    }
    return paramFaults(value, about.paths, path.map(String))
  } catch (error) {
    if (!(error instanceof TemplateError || error instanceof PathError)) throw error
    return [{ path, message: error.message }]
  }
}

function unknownLeg(name: string, names: readonly string[]): string {
  const near = nearest(name, names)
  const got = `expected one of the legs ${names.join(', ')}, got "${name}"`
  return near === undefined ? got : `${got}; did you mean "${near}"?`
}

/** Returns the errors of keys that two legs have in the default body, or that the gateway writes itself. */
function keyFaults({ legs, body, merge, partial }: AggregateOptions): OptionFault[] {
  if (body !== undefined || merge !== undefined) return []
  const known = new Set<string>(partial === 'body' ? ['_partial'] : [])
  return Object.entries(legs).flatMap(([name, { as: key = name }]) => {
    if (!known.has(key)) {
      known.add(key)
      return []
    }
    return [{ path: ['legs', name, 'as'], message: `expected a key that is not taken, got "${key}"` }]
  })
}
