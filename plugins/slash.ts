import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Comparison } from '../src/kit/concern.ts'
import {
  type AboutRoute,
  type Description,
  defineWarning,
  fp,
  perOptions,
  type RouteInfo,
  Type,
  type Warning
} from '../src/kit/index.ts'
import { upgradeOf } from '../src/lib/http/upgrade.ts'
import { pathOf, queryOf } from '../src/lib/http/url-parts.ts'
import { overrideOf, type Static } from '../src/lib/schema.ts'
import { EXPECTED } from '../src/lib/units.ts'

export const key = 'slash'

/** The option that a text stands for. */
export const shorthand = 'form'

export const options = Type.Object(
  {
    form: Type.Unsafe<'add' | 'strip'>({
      type: 'string',
      enum: ['add', 'strip'],
      [EXPECTED]: '"add" or "strip"',
      description:
        'The form of paths that clients are redirected to: with a final slash, except for names with a dot such as /app.js, or without one.',
      examples: ['strip']
    })
  },
  {
    additionalProperties: false,
    description:
      'Redirects to the path with or without a final slash (308); a text is short for { "form": text }.',
    examples: [{ form: 'strip' }]
  }
)

export const override = overrideOf(options)
export const stateless = true
export type SlashOptions = Static<typeof options>

export const describes = (): Description => ({
  responses: { '308': { description: 'The path in the other form' } }
})

const redirected = defineWarning(
  'SP_WARN_SLASH_UNREACHABLE',
  'low',
  'A route at a path that is always redirected'
)

/** Warns of a route all of whose paths have the final slash that clients are redirected from. */
export const warnings = ({ form }: SlashOptions, { paths }: AboutRoute): Warning[] =>
  form === 'strip' && paths.every((path) => path.length > 1 && path.endsWith('/'))
    ? [redirected('is never reached, because "slash" redirects to its path without the final slash')]
    : []

/** How `diff` compares two resolved options. */
export const comparison: Comparison = {
  options: { form: { class: 'moved', message: 'redirects to the other form of paths' } },
  onOff: { class: 'moved', message: 'redirects paths by their final slash, or no longer' }
}

export default fp<SlashOptions>(
  async function slash(app, root) {
    perOptions(
      app,
      key,
      root,
      ({ form }, route) => {
        if (!isConfigured(route)) return undefined
        const otherForm = form === 'add' ? withSlash : withoutSlash
        return {
          onRequest(request, reply, done) {
            const path = otherForm(pathOf(request))
            if (path === undefined || upgradeOf(request.raw) !== undefined) done()
            else redirect(request, reply, path)
          }
        }
      },
      (_options, route) => isConfigured(route)
    )
  },
  { name: key, fastify: '5.x' }
)

const isConfigured = ({ kind }: RouteInfo): boolean => kind === 'config'

/** Returns a path with a final slash; undefined where it stays as it is. */
function withSlash(path: string): string | undefined {
  const last = path.slice(path.lastIndexOf('/') + 1)
  return last === '' || last.includes('.') || isHostLike(path) ? undefined : `${path}/`
}

/** Returns a path without its final slashes; undefined where it stays as it is. */
function withoutSlash(path: string): string | undefined {
  if (path.length < 2 || !path.endsWith('/') || isHostLike(path)) return undefined
  return path.replace(/\/+$/, '') || '/'
}

// A Location of "//evil.example/" leads to another host.
const isHostLike = (path: string): boolean => path.startsWith('//')

function redirect({ raw: { url = '/' } }: FastifyRequest, reply: FastifyReply, path: string): void {
  void reply.redirect(path + queryOf(url), 308)
}
