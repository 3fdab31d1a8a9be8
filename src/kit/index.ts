export { createError } from '@fastify/error'
export { fastifyPlugin as fp } from 'fastify-plugin'
export { Type } from 'typebox'
export { addressOf, peerOf } from '../lib/http/addresses.ts'
export { cookieIn, cookiesIn, LOGIN_COOKIE, withoutCookie } from '../lib/http/cookies.ts'
export {
  cleanHeader,
  isClaim,
  isHeaderName,
  isHeaderValue,
  joinVary,
  plainName,
  wordsIn
} from '../lib/http/headers.ts'
export { isHttp2 } from '../lib/http/http2.ts'
export { remember, rememberName } from '../lib/memoize.ts'
export {
  elapsed,
  ownBytesOf,
  statusOf,
  type Waiting,
  waitForEnd,
  waitNoMore,
  whenOver,
  wordOf
} from './answers.ts'
export { type AskLimits, askUpstream, type WholeAnswer } from './ask-upstream.ts'
export { acceptAnyContentType, hangUp, leaveBodies, resetConnection, takeAnyType } from './bodies.ts'
export { breathe, eachInSlices, inSlices } from './breath.ts'
export { callBack } from './call-back.ts'
export {
  type Caller,
  type Forwarding,
  identityHeadersOf,
  originMatcher,
  type Provided,
  partReader,
  publicOrigin,
  sessionCounts
} from './caller.ts'
export {
  type Canonical,
  canonicalHost,
  canonicalPath,
  HostInvalid,
  matchable,
  PathAmbiguous,
  PathSlash,
  type PathsOptions,
  PathUnsafe,
  pathsOptions,
  type SlashPolicy,
  TargetForm,
  VersionInvalid
} from './canonical.ts'
export { type CertificateState, type ShownCertificate, showCertificate } from './certificates.ts'
export { copyOf, thenGiveBack } from './chunks.ts'
export type {
  About,
  AboutRoute,
  Concern,
  Head,
  HeadHook,
  HeadPlan,
  Mount,
  OptionFault,
  RouteInfo,
  SallyportConfig,
  StandingAbout,
  StandingRoute,
  Target,
  TargetRoute,
  TargetRoutes,
  WordsSaid
} from './concern.ts'
export { type Handler, isStream, type Sender, type Sending } from './dispatch.ts'
export type { DnsChallenge } from './dns.ts'
export { grpcRefusal, grpcTimeoutOf, isGrpc } from './grpc.ts'
export { HeaderName, headerFaults } from './headers.ts'
export { escapeHtml } from './html.ts'
export { endWithHead } from './http2.ts'
export { LINES, type LineLevel, lineWriter, quote, type WriteLine } from './lines.ts'
export { ROUTABLE } from './methods.ts'
export {
  Durations,
  type MetricFamily,
  type MetricValue,
  Tally,
  type TargetState,
  type UpstreamState
} from './metrics.ts'
export { isRange, originOf, RANGE_SAYS, rangeMatcher, spellOut } from './network.ts'
export type { Peers, PeerTopic } from './peers.ts'
export {
  eachRoute,
  type Hooks,
  type Kit,
  layGround,
  newRoute,
  perOptions,
  perRoute,
  refuses,
  type Verdict
} from './per-route.ts'
export { type ReadBodyOptions, readBody } from './read-body.ts'
export {
  BodyTooLarge,
  BuffersFull,
  CodingUnknown,
  DeadlineExceeded,
  ExpectationUnknown,
  HeaderRepeated,
  HeadersTooLarge,
  Internal,
  Malformed,
  MediaUnknown,
  MethodRefused,
  type Refusal,
  Refused,
  RouteUnknown,
  SocketsExhausted,
  TooSlow,
  Unsendable,
  Untaken,
  UrlTooLong,
  withHeaders
} from './refusals.ts'
export { makeRewrite, paramFaults, type Rewrite, restOf, rewriteFaults, shapeOf } from './rewrite.ts'
export { fraction, scatter } from './scatter.ts'
export {
  allowsFalse,
  deepFreeze,
  define,
  gate,
  isObject,
  isTemplate,
  itemsOf,
  mapFiles,
  merge,
  nearest,
  type Override,
  overrideOf,
  prune,
  type Static,
  schemaOf,
  type TObject,
  type TSchema
} from './schema.ts'
export { type Script, type SharedStore, type Store, storeAway, storeState } from './store.ts'
export { connectionOptions, tlsToward } from './tls.ts'
export {
  Duration,
  DurationOrNone,
  duration,
  durationOrNone,
  FILE,
  File,
  LONGEST_TIMER,
  RateOrNone,
  rate,
  rateOrNone,
  SAYS,
  Share,
  Size,
  SizeOrNone,
  share,
  size,
  sizeOrNone,
  TEMPLATE,
  TextOrNone,
  WHOLE
} from './units.ts'
export { noteUpgrade, type Upgrade, upgradeOf, wantsWebSocket } from './upgrade.ts'
export type {
  AnswerListener,
  AttemptPolicy,
  Extent,
  Fate,
  OutboundRequest,
  PolicyOptions,
  ReplayableBody,
  RetryPolicy,
  Sent,
  UpstreamService,
  UpstreamTarget
} from './upstream.ts'
export {
  UpstreamFailed,
  UpstreamTimeout,
  UpstreamUnavailable,
  unavailable,
  upstreamRefusal
} from './upstream-errors.ts'
export {
  claimOf,
  pathOf,
  queryOf,
  queryValue,
  type Reader,
  type Template,
  TemplateError,
  template,
  templateFaults,
  type ValueKind
} from './values.ts'
export { type Captured, capture } from './vendor.ts'
