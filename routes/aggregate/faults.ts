import type { About, OptionFault } from '../../src/kit/index.ts'
import { formatFaults } from '../../src/lib/body/format-options.ts'
import { PathError } from '../../src/lib/body/paths.ts'
import { shapeFaults } from '../../src/lib/body/shape.ts'
import { headerFaults } from '../../src/lib/http/header-options.ts'
import { paramFaults } from '../../src/lib/http/rewrite.ts'
import { upstreamFault } from '../../src/lib/http/upstream-names.ts'
import { isObject, nearest } from '../../src/lib/schema.ts'
import { TemplateError, templateParts } from '../../src/lib/template-parts.ts'
import { isSafe } from './leg.ts'
import type { AggregateOptions, LegOptions } from './options.ts'
import { circleOf, dependencies, legReferences } from './plan.ts'
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
  for (const [i, name] of (merge ?? []).entries())
    if (!names.includes(name)) found.push({ path: ['merge', i], message: unknownLeg(name, names) })
  if (format !== undefined) found.push(...formatFaults(format, ['format']))
  found.push(...keyFaults(legs))
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
  if (leg.format !== undefined) found.push(...formatFaults(leg.format, [...at, 'format']))
  if (leg.each !== undefined) found.push(...eachFaults(leg.each, [...at, 'each'], { about, names }))
  if (leg.pass !== undefined && !(leg.required ?? leg.fallback === undefined))
    found.push({
      path: [...at, 'pass'],
      message: 'expected a required leg; an optional one never decides the status'
    })
  if (leg.required === true && leg.fallback !== undefined && leg.each === undefined)
    found.push({
      path: [...at, 'fallback'],
      message: 'expected either "required": true or "fallback", got both'
    })
  return found
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
  return `No leg "${name}"; ${near === undefined ? `expected one of ${names.join(', ')}` : `did you mean "${near}"?`}`
}

function keyFaults(legs: AggregateOptions['legs']): OptionFault[] {
  const known = new Set<string>()
  return Object.entries(legs).flatMap(([name, { as }]) => {
    const key = as ?? name
    if (!known.has(key)) {
      known.add(key)
      return []
    }
    return [{ path: ['legs', name, 'as'], message: `expected a key that no other leg has, got "${key}"` }]
  })
}

/** Returns the warnings about an aggregated response. */
export function warnings({ legs }: AggregateOptions): string[] {
  const unsafe = Object.entries(legs).filter(([, leg]) => !isSafe(leg))
  const found: string[] = []
  if (unsafe.length > 1)
    found.push(
      `changes something in several legs (${unsafe.map(([name]) => name).join(', ')}), and none of them is undone if another one fails`
    )
  const retried = unsafe.filter(([, { retry }]) => retry !== undefined).map(([name]) => name)
  if (retried.length > 0)
    found.push(
      `has "retry" on ${retried.join(', ')}, which are never retried; "safe": true says that they only read`
    )
  const each = Object.entries(legs).filter(
    ([, leg]) => leg.each !== undefined && legReferences(leg).every(({ kind }) => kind !== 'item')
  )
  if (each.length > 0)
    found.push(
      `calls ${each.map(([name]) => name).join(', ')} for each item of a list without using the item`
    )
  return found
}
