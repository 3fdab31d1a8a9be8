// The published API for extensions, `sallyport/kit`: each name stands in docs/extensions.md, and a test holds both together.
export { createError } from '@fastify/error'
export { fastifyPlugin as fp } from 'fastify-plugin'
export { Type } from 'typebox'
export { type AskLimits, askUpstream, type WholeAnswer } from '../lib/ask-upstream.ts'
export type { Caller, Forwarding } from '../lib/caller.ts'
export type { DnsChallenge } from '../lib/contracts/dns.ts'
export type {
  AnswerListener,
  AttemptPolicy,
  OutboundRequest,
  UpstreamService,
  UpstreamTarget
} from '../lib/contracts/upstream.ts'
export { addressOf, peerOf } from '../lib/http/addresses.ts'
export { cookieIn } from '../lib/http/cookies.ts'
export { elapsed, onRequestDone, onRequestDone as whenOver } from '../lib/http/response-end.ts'
export { type Refusal, withHeaders } from '../lib/refusals.ts'
export { gate, type OptionFault, overrideOf, type Static } from '../lib/schema.ts'
export {
  Duration,
  DurationOrNone,
  duration,
  durationOrNone,
  File,
  RateOrNone,
  rate,
  Share,
  Size,
  SizeOrNone,
  share,
  size,
  sizeOrNone,
  TEMPLATE
} from '../lib/units.ts'
export { type Template, template } from '../lib/values.ts'
export type {
  About,
  AboutPlan,
  AboutRoute,
  BuiltinContext,
  BuiltinRoute,
  Concern,
  Concurrency,
  IsConfigured,
  PlanWarning,
  Target,
  TargetRoute,
  TargetRoutes
} from './concern.ts'
export type { Hooks } from './hooks.ts'
export { eachRoute, perOptions, perRoute, reject } from './per-route.ts'
export { type ReadBodyOptions, readBody } from './read-body.ts'
export type { Head, HeadHook } from './response-head.ts'
export type { Mount, RouteInfo, SallyportConfig } from './route-info.ts'
