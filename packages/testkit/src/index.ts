export { type DataDrivenCommand, runDataDriven } from './datadriven.ts';
