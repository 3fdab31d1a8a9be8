// The published API for tests of configs and extensions, `sallyport/testing`: docs/testing.md lists every name.

export type { Fetch } from './client.ts'
export { clock, type TestClock } from './clock.ts'
export { conformance, runChecks, type SubtestScope } from './conformance/index.ts'
export type {
  ConformanceCheck,
  ConformanceModule,
  ConformanceRequest,
  ConformanceSetup
} from './conformance/setup.ts'
export { type GatewayTestOptions, gateway, type TestGateway } from './gateway.ts'
export type { LogLine, TestLog } from './log.ts'
export type { TestScope } from './scope.ts'
export { type ReceivedRequest, type TestUpstream, type UpstreamHandler, upstream } from './upstream.ts'
