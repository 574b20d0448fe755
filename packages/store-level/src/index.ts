export {
  DEFAULT_LEVEL_TUNING,
  type LevelStoresOptions,
  type LevelTuning,
  openLevelStores,
} from './level-state-stores.ts';
