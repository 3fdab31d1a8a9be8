import { type Json, type JsonObject, listAt } from '../json.ts'
import type { SourceText } from '../source-text.ts'
import type { Translation } from '../translation.ts'
import { type Directive, parseNginx } from './parse.ts'

/** Translates a config of nginx. */
export function translateNginx(source: SourceText, translation: Translation): void {
  const routes = listAt(translation.config, 'routes')
  for (const directive of blocksOf(parseNginx(source), 'server'))
    for (const location of blocksOf(directive.block ?? [], 'location'))
      addLocation(location, routes, translation)
}

function addLocation(
  { args, block = [], ...line }: Directive,
  routes: Json[],
  translation: Translation
): void {
  const path = args.at(-1) ?? '/'
  const route: JsonObject = { path: args.length === 1 ? `${path.replace(/\/$/, '')}/*` : path }
  routes.push(route)
  const [pass, ...others] = block
  if (pass?.name === 'proxy_pass' && others.length === 0 && args.length === 1) {
    route['proxy'] = { upstream: pass.args[0] ?? '' }
    translation.done()
  } else {
    route['respond'] = { status: 403 }
    translation.missing(line, `location ${args.join(' ')}`, route)
  }
}

const blocksOf = (directives: readonly Directive[], name: string): Directive[] =>
  directives.flatMap((each) =>
    each.name === name ? [each] : each.name === 'http' ? blocksOf(each.block ?? [], name) : []
  )
