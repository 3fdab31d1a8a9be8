import { basename } from 'node:path'
import type { AboutPlan, AboutPlanRoute, PlanWarning } from '../../src/kit/concern.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'
import { listOperations, serverPaths } from '../../src/lib/openapi/operations.ts'
import { readOpenApiSync } from '../../src/lib/openapi/read-document.ts'
import { isObject } from '../../src/lib/schema.ts'
import { key, type ValidateOptions } from './options.ts'
import { unreachable } from './warnings.ts'

// A warning names this many paths and counts the others.
const MAX_NAMED = 5

/** Warns of the paths of documents that no request can reach, since those of a document are below the path of the route. */
export function planWarnings(_root: ValidateOptions, { routes }: AboutPlan): PlanWarning[] {
  const documents = new Map<string, readonly string[]>()
  const withBase = new Map<ValidateOptions, AboutPlanRoute[]>()
  const found = new Map<string, AboutPlanRoute[]>()
  const warn = (message: string, those: readonly AboutPlanRoute[]): void =>
    void getOrCreate(found, message, (): AboutPlanRoute[] => []).push(...those)
  for (const route of routes) {
    const options = route.options[key]
    if (!isObject(options) || options['openapi'] === undefined) continue
    const { openapi, servers, base } = options as ValidateOptions & { readonly openapi: string }
    const paths = getOrCreate(documents, `${openapi} ${servers}`, () => pathsOf(openapi, servers))
    // Several routes may publish parts of one document below the same base.
    if (base !== undefined) {
      getOrCreate(withBase, options as ValidateOptions, (): AboutPlanRoute[] => []).push(route)
      continue
    }
    const missed = paths.filter((path) => !isReachable(path, route.paths, route.paths))
    if (missed.length > 0) warn(messageFor(missed, openapi, route.paths), [route])
  }
  for (const [options, those] of withBase) {
    const { openapi = '', servers } = options
    const base = [options.base ?? '/'].flat()
    const paths = documents.get(`${openapi} ${servers}`) ?? []
    const isUsed = paths.some((path) => those.some((route) => isReachable(path, base, route.paths)))
    if (paths.length > 0 && !isUsed) warn(messageFor(paths, openapi, base), those)
  }
  return [...found].map(([message, those]) => ({ ...unreachable(message), routes: those }))
}

function pathsOf(file: string, servers: boolean): string[] {
  try {
    const document = readOpenApiSync(file)
    const prefixes = servers ? serverPaths(document) : ['']
    const paths = new Set(listOperations(document).map(({ path }) => path))
    return prefixes.flatMap((prefix) => [...paths].map((path) => prefix + path))
  } catch {
    // Its place is an error already.
    return []
  }
}

function messageFor(paths: readonly string[], file: string, base: readonly string[]): string {
  const more = paths.length - MAX_NAMED
  const named = `${paths.slice(0, MAX_NAMED).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
  return `validates by ${basename(file)}, whose paths are below ${base.join(' and ')}, so that no request can be for ${named}; set "validate": { "base": … } to the path that they are below, such as "/"`
}

/** Returns whether a request for one of the paths of a route can be for a path of a document below a base. */
function isReachable(path: string, bases: readonly string[], routePaths: readonly string[]): boolean {
  return bases.some((base) => {
    const whole = [...segmentsOf(base.replace(/\/\*$/, '')), ...segmentsOf(path)]
    return routePaths.some((routePath) => overlaps(whole, routePath))
  })
}

function overlaps(whole: readonly string[], routePath: string): boolean {
  const isWildcard = routePath.endsWith('/*')
  const segments = segmentsOf(isWildcard ? routePath.slice(0, -2) : routePath)
  if (isWildcard ? whole.length < segments.length : whole.length !== segments.length) return false
  return segments.every((segment, i) => isAlike(segment, whole[i] ?? ''))
}

const isAlike = (one: string, other: string): boolean =>
  isParameter(one) || isParameter(other) || plain(one) === plain(other)

const isParameter = (segment: string): boolean => segment.startsWith(':') || segment.includes('{')

function plain(segment: string): string {
  try {
    return decodeURIComponent(segment).toLowerCase()
  } catch {
    return segment
  }
}

// A final slash makes no difference to a route; an expression of a parameter may contain slashes.
const segmentsOf = (path: string): string[] => path.split(/\/(?![^(]*\))/).filter((segment) => segment !== '')
