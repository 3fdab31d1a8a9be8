import type { JsonObject } from '../json.ts'
import { literal } from '../values.ts'
import type { ContentPlace, Obstacle } from './content.ts'
import { missingFileOf } from './missing-files.ts'
import type { Directive } from './parse.ts'
import { durationOf } from './units.ts'

/** Translates root, alias, index and try_files; returns what stands in the way, undefined if nothing does. */
export function addFiles(place: ContentPlace): Obstacle | undefined {
  const { scope, route, match, path } = place
  const alias = scope.own('alias').at(-1)
  const root = alias ?? scope.last('root')
  if (root === undefined) return undefined
  const folder = root.args[0] ?? ''
  const obstacle = { directive: root, text: `${root.name} ${folder}` }
  if (folder.includes('$')) return obstacle
  if (match.kind === 'exact') {
    const uri = uriOfTry(scope.last('try_files')) ?? match.text
    const file = alias !== undefined ? folder : joined(folder, uri.endsWith('/') ? `${uri}index.html` : uri)
    route['files'] = { file: literal(file) }
    return undefined
  }
  if (path.includes('/:') || (match.kind === 'regex' && alias !== undefined)) return obstacle
  const base = path.endsWith('/*') ? path.slice(0, -2) : path
  const files: JsonObject = { root: literal(alias !== undefined ? folder : joined(folder, base)) }
  const fallback = addFallback(files, base, place)
  const page = missingFileOf(scope)?.page ?? ''
  if (page.startsWith(`${base}/`)) files['fallback'] = literal(page.slice(base.length))
  else if (page !== '') return { directive: root, text: `rewrite … ${page}` }
  const age = ageOf(scope.value('expires'))
  if (age !== undefined) files['maxAge'] = age
  route['files'] = files
  return fallback
}

// What "try_files" looks at; the second is the option "cleanUrls".
const PAGE = '$uri.html'
const TRIED: ReadonlySet<string> = new Set(['$uri', PAGE, '$uri/', '$uri/index.html'])

/** Returns the folder of a proxied location whose files come first, and whether pages are looked for; undefined if ours can't say which folder that is. */
export function filesBeside({ scope, path }: ContentPlace): JsonObject | undefined {
  const alias = scope.own('alias').at(-1)?.args[0]
  const folder = alias ?? scope.value('root')
  if (folder === undefined || folder.includes('$') || path.includes('/:')) return undefined
  // Ours looks up what follows the path, and nginx all of it, unless there is an alias.
  if (alias !== undefined && !path.endsWith('/*')) return undefined
  const isBelow = alias === undefined && path.endsWith('/*')
  return {
    root: literal(isBelow ? joined(folder, path.slice(0, -2)) : folder),
    ...(scope.last('try_files')?.args.includes(PAGE) === true ? { cleanUrls: true } : {})
  }
}

// The URI of "try_files /page.html =404".
const uriOfTry = (directive: Directive | undefined): string | undefined =>
  directive?.args.find((arg) => arg.startsWith('/') && !arg.includes('$'))

function addFallback(
  files: JsonObject,
  base: string,
  { scope, route, translation }: ContentPlace
): Obstacle | undefined {
  const directive = scope.last('try_files')
  const last = directive?.args.at(-1)
  if (directive === undefined || last === undefined) return undefined
  if (/\.php|^@/.test(last)) return { directive, text: `try_files ${directive.args.join(' ')}` }
  if (directive.args.includes(PAGE)) files['cleanUrls'] = true
  if (directive.args.slice(0, -1).some((arg) => !TRIED.has(arg) && arg !== last))
    translation.missing(directive, `try_files ${directive.args.join(' ')}`, route)
  if (last.startsWith('/') && last.startsWith(`${base}/`) && !last.includes('$'))
    files['fallback'] = literal(last.slice(base.length))
  else if (last !== '=404' && !TRIED.has(last)) translation.missing(directive, `try_files … ${last}`, route)
  return undefined
}

/** Returns the time of `expires`, if it is one. */
function ageOf(value: string | undefined): string | undefined {
  if (value === 'max') return '3650d'
  const match = /^(\d+)([My])$/.exec(value ?? '')
  if (match !== null) return `${Number(match[1]) * (match[2] === 'y' ? 365 : 30)}d`
  return durationOf(value ?? '')
}

const joined = (folder: string, path: string): string =>
  `${folder.replace(/\/$/, '')}/${path.replace(/^\//, '')}`.replace(/(.)\/$/, '$1')
