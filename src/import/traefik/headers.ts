import { type JsonObject, objectAt } from '../json.ts'
import type { Node } from './node.ts'
import { literalTemplate } from './text.ts'
import type { Visit } from './visit.ts'

const FIXED: Readonly<Record<string, readonly [string, string]>> = {
  framedeny: ['x-frame-options', 'DENY'],
  contenttypenosniff: ['x-content-type-options', 'nosniff'],
  browserxssfilter: ['x-xss-protection', '1; mode=block']
}

const NAMED: Readonly<Record<string, string>> = {
  customframeoptionsvalue: 'x-frame-options',
  custombrowserxssvalue: 'x-xss-protection',
  contentsecuritypolicy: 'content-security-policy',
  contentsecuritypolicyreportonly: 'content-security-policy-report-only',
  referrerpolicy: 'referrer-policy',
  permissionspolicy: 'permissions-policy'
}

const WITHOUT_MEANING =
  /^(?:stsincludesubdomains|stspreload|stsseconds|forcestsheader|isdevelopment|hostsproxyheaders|sslproxyheaders|sslforcehost|addvaryheader|accesscontrolalloworiginlist|accesscontrolallowmethods|accesscontrolallowheaders|accesscontrolexposeheaders|accesscontrolallowcredentials|accesscontrolmaxage)$/

/** Translates the middleware `headers`: custom headers, security headers and CORS. */
export function addHeaders(options: Node, visit: Visit): void {
  const { route, doubts } = visit
  const set = (side: string, name: string, value: string): void => {
    // An empty value removes the header.
    objectAt(objectAt(route, 'headers'), side)[name.toLowerCase()] =
      value === '' ? false : literalTemplate(value)
  }
  for (const [key, node] of options.entries()) {
    const name = key.toLowerCase()
    const text = node.text() ?? ''
    const fixed = FIXED[name]
    const named = NAMED[name]
    if (name === 'customrequestheaders') addRequestHeaders(node, visit, set)
    else if (name === 'customresponseheaders')
      for (const [header, value] of node.entries()) set('response', header, value.text() ?? '')
    else if (fixed !== undefined) {
      if (node.isTrue()) set('response', ...fixed)
    } else if (named !== undefined) set('response', named, text)
    else if (!WITHOUT_MEANING.test(name)) {
      if (/^(?:sslredirect|ssltemporaryredirect|sslhost|publickey)$/.test(name))
        visit.translation.missing(node.line, `headers.${key}`, route)
      else doubts.push({ line: node.line, text: `headers.${key}` })
    }
  }
  const seconds = Number(options.get('stsSeconds').text() ?? 0)
  if (seconds > 0) {
    const more = [
      options.get('stsIncludeSubdomains').isTrue() ? '; includeSubDomains' : '',
      options.get('stsPreload').isTrue() ? '; preload' : ''
    ]
    set('response', 'strict-transport-security', `max-age=${seconds}${more.join('')}`)
  }
  addCors(options, visit)
}

function addRequestHeaders(
  node: Node,
  visit: Visit,
  set: (side: string, name: string, value: string) => void
): void {
  for (const [header, value] of node.entries())
    if (header.toLowerCase() === 'host')
      visit.translation.missing(value.line, `customRequestHeaders ${header}`, visit.route)
    else if (!/^x-forwarded-(?:proto|for|host|port)$/i.test(header))
      set('request', header, value.text() ?? '')
}

function addCors(options: Node, { route, translation }: Visit): void {
  const origins = options.get('accessControlAllowOriginList').texts()
  if (options.get('accessControlAllowOriginListRegex').exists())
    translation.missing(options.line, 'accessControlAllowOriginListRegex', route)
  if (origins.length === 0) return
  const cors: JsonObject = { origins }
  const lists = {
    methods: 'accessControlAllowMethods',
    headers: 'accessControlAllowHeaders',
    expose: 'accessControlExposeHeaders'
  }
  for (const [key, name] of Object.entries(lists)) {
    const values = options.get(name).texts()
    if (values.length > 0 && !values.includes('*')) cors[key] = values
  }
  if (options.get('accessControlAllowCredentials').isTrue() && !origins.includes('*'))
    cors['credentials'] = true
  const age = Number(options.get('accessControlMaxAge').text() ?? 0)
  if (age > 0) cors['maxAge'] = `${age}s`
  route['cors'] = cors
}
